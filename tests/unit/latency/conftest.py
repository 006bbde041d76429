"""Files to time: the reference model, and a file that is not a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_pipeline.export.reference import write_reference


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    write_reference(path)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    return path
