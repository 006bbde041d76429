"""Logs an exported network as an MLflow model: the bytes of the bundle, a signature, pinned requirements.

MLflow's `onnx.log_model` parses the network and writes it again, with the weights in a second file: not the bytes that
were measured. The model folder is therefore written here, with MLflow's public classes.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from nas_pipeline.core.records import InputSpec
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.registry.results import TargetResult

EVIDENCE = "evidence"
"""Folder of the evidence inside the model."""

_MODEL_NAME = "onnx"
_REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime")
"""Packages that serving the model needs; onnx because MLflow's loader checks the file with it."""


def log_onnx_model(
    client: MlflowClient, *, experiment_id: str, run_id: str, result: TargetResult, evidence: Path,
    tags: dict[str, str],
) -> str:
    """Logs the network of `result` with a copy of the folder `evidence` as the output of a run; returns the model's id.

    The evidence is inside the model, so a version has its evidence even if the run is deleted.
    """
    model = client.create_logged_model(
        experiment_id=experiment_id,
        name=_MODEL_NAME,
        source_run_id=run_id,
        tags=tags,
        params={"target": result.bundle.target, "precision": result.bundle.precision},
        model_type="onnx",
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        description = Model(
            artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
        )
        write_model_folder(folder, description, result.model, result.bundle.spec)
        shutil.copytree(evidence, folder / EVIDENCE)
        client.log_model_artifacts(model.model_id, str(folder))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def write_model_folder(folder: Path, description: Model, network: Path, spec: InputSpec) -> None:
    """Writes an MLflow model of the ONNX and pyfunc flavours whose network is a copy of the file `network`."""
    shutil.copyfile(network, folder / MODEL_FILE)
    description.signature = signature(spec)
    description.add_flavor(  # as mlflow.pyfunc.add_to_model does; importing that takes a second
        "python_function",
        loader_module="mlflow.onnx",
        python_version=platform.python_version(),
        data=MODEL_FILE,
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    )
    description.add_flavor(
        "onnx",
        onnx_version=version("onnx"),
        data=MODEL_FILE,
        providers=["CPUExecutionProvider"],
        onnx_session_options=None,
        code=None,
    )
    description.model_size_bytes = network.stat().st_size
    description.save(str(folder / "MLmodel"))
    _write_requirements(folder)


def signature(spec: InputSpec) -> ModelSignature:
    """Returns the signature: float32 [N, channels, height, width] -> float32 [N, classes]."""
    pixels = TensorSpec(np.dtype("float32"), (-1, spec.channels, spec.height, spec.width), "input")
    logits = TensorSpec(np.dtype("float32"), (-1, spec.classes), "logits")
    return ModelSignature(inputs=Schema([pixels]), outputs=Schema([logits]))


def _write_requirements(folder: Path) -> None:
    pinned = [f"{name}=={version(name)}" for name in _REQUIREMENTS]
    python = platform.python_version()
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pinned}],
    }
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "requirements.txt").write_text("\n".join(pinned) + "\n", encoding="utf-8")
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False), encoding="utf-8")
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")
