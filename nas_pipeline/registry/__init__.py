"""The only importer of MLflow: logs the artefacts of a pipeline as runs, and registers and promotes model versions.

The repository has a folder named mlflow/ at its root. Where the package is not installed, `import mlflow` would find
that folder and succeed with an empty package; the check below therefore runs before any module here is imported.
"""

from nas_pipeline.registry import environment

environment.set_environment()
environment.check_mlflow_installed()
