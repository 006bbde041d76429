"""Bundles are read as they were written; changed bundles are rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec, ModelBundle, Parity
from nas_pipeline.errors import ExportError
from nas_pipeline.export.bundle import BUNDLE_FILE, MODEL_FILE, read_bundle, write_bundle
from nas_pipeline.export.reference import write_reference


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, ModelBundle]:
    write_reference(tmp_path / "candidate.onnx")
    folder = tmp_path / "bundle"
    return folder, write_bundle(
        folder, model=tmp_path / "candidate.onnx", target="board", genotype=Genotype("toy", 1, (("depth", 2),)),
        spec=InputSpec(1, 8, 8, 10), precision="int8", metrics={"val_accuracy": 0.9, "fp32_val_accuracy": 0.91},
        parity=Parity(100, 0.99, 0.1), provenance={"git": "abc"},
    )


def test_round_trip(written):
    folder, bundle = written
    assert read_bundle(folder) == bundle
    assert read_bundle(folder).digest == bundle.digest
    assert sorted(path.name for path in folder.iterdir()) == [BUNDLE_FILE, MODEL_FILE]
    assert bundle.metrics["size_bytes"] == (folder / MODEL_FILE).stat().st_size


def test_a_changed_file_is_refused(written):
    (written[0] / MODEL_FILE).write_bytes(b"another network")
    with pytest.raises(ExportError, match="not the file that was bundled"):
        read_bundle(written[0])


def test_a_missing_file_is_refused(written):
    (written[0] / MODEL_FILE).unlink()
    with pytest.raises(ExportError, match="missing"):
        read_bundle(written[0])


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(ExportError, match="run the export stage"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {}}, "lists no model.onnx"),
        ({"files": {MODEL_FILE: "0" * 64}}, "changed after it was written"),
        ({"genotype": {"space": "toy", "version": 1, "genes": [["depth", 3]]}}, "changed after it was written"),
        ({"genotype": 3}, "is not a bundle"),
        ({"parity": None}, "is not a bundle"),
        ({"surprise": 1}, "is not a bundle"),
    ],
)
def test_a_changed_description_is_refused(written, change, message):
    path = written[0] / BUNDLE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ExportError, match=message):
        read_bundle(written[0])


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_nonsense_is_refused(written, text):
    (written[0] / BUNDLE_FILE).write_text(text)
    with pytest.raises(ExportError, match="is not a bundle"):
        read_bundle(written[0])


def test_files_outside_the_folder_are_refused(written):
    folder, bundle = written
    value = bundle.to_json()
    value["files"]["../candidate.onnx"] = bundle.files[MODEL_FILE]
    value["digest"] = ModelBundle.from_json(value).digest
    (folder / BUNDLE_FILE).write_text(json.dumps(value))
    with pytest.raises(ExportError, match="in the folder itself"):
        read_bundle(folder)


def test_a_link_is_no_file_of_the_bundle(written, tmp_path):
    (written[0] / MODEL_FILE).unlink()
    (written[0] / MODEL_FILE).symlink_to(tmp_path / "candidate.onnx")
    with pytest.raises(ExportError, match="in the folder itself"):
        read_bundle(written[0])


def test_an_unreadable_model_is_refused(written, tmp_path):
    with pytest.raises(ExportError, match="cannot be read"):
        write_bundle(
            tmp_path / "other", model=tmp_path / "absent.onnx", target="board", genotype=written[1].genotype,
            spec=written[1].spec, precision="fp32", metrics={}, parity=written[1].parity, provenance={},
        )
