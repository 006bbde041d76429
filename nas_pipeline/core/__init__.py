"""Types and functions that all packages share: records, protocols, genotypes, catalogues, atomic files. No torch."""
