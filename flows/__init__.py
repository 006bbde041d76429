"""WHEN: thin Prefect flows over the stages. No logic of the product lives here, and prefect is imported nowhere else."""
