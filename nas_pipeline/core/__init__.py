"""The words every other package speaks: records, protocols, genotypes. No torch, no I/O but `files`."""
