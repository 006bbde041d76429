"""WHEN: thin Prefect over the stages. No logic of the product lives here; prefect is imported nowhere else."""
