"""Prefect flows: when and in which order the stages and actions run. The only package that imports prefect and dvc."""
