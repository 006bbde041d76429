"""MLflow's only door: replaying a pipeline's artefacts as runs, and registering what may be used.

A folder named mlflow/ stands at the repository's root. Where the package is not installed, `import mlflow` would
find that folder and succeed, empty: so the door is checked before any module of this room is imported.
"""

from nas_pipeline.registry import door

door.set_environment()
door.check()
