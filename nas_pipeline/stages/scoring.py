"""Scores the files that may ship on the test images, during the one read of the test split."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.predictions import Predictions, image_ids, top1
from nas_pipeline.core.records import DatasetManifest, InputSpec, Precision
from nas_pipeline.data.corruptions import CORRUPTIONS, corrupt, corrupted_subset
from nas_pipeline.data.loaders import Split, normalise

ImageArray = npt.NDArray[np.float32]
"""Normalised images: float32 [N, C, H, W]."""


def export_candidates(
    net: nn.Module, spec: InputSpec, opset: int, calib: ImageArray, calibration: Any, folder: Path
) -> dict[Precision, Path]:
    """Exports the files that may ship; returns precision -> path. Equal inputs give equal bytes.

    Raises:
        ExportError: The network cannot be exported, or devices would refuse a file.
    """
    from nas_pipeline.export.int8 import quantize_int8
    from nas_pipeline.export.onnx_file import export_onnx

    paths: dict[Precision, Path] = {"fp32": folder / "fp32.onnx", "int8": folder / "int8.onnx"}
    export_onnx(net, spec, paths["fp32"], opset=opset)
    quantize_int8(paths["fp32"], paths["int8"], calib, calibration=calibration)
    return paths


class FileScores:
    """Scores the files of each seed's network; `predictions` collects their predictions by the sha256 of the file."""

    def __init__(self, manifest: DatasetManifest, opsets: list[int], calib: ImageArray, calibration: Any) -> None:
        self.predictions: dict[str, Predictions] = {}
        self._manifest, self._opsets, self._calib, self._calibration = manifest, opsets, calib, calibration

    def __call__(self, net: nn.Module, test: Split, ships: bool) -> dict[str, dict[str, Any]]:
        """Returns sha256 -> {precision, opset, accuracy} of every file that `net` may ship as.

        Corrupted copies of images are scored only for files of the network that `ships`.
        """
        ids = image_ids(test.images, test.labels, self._manifest.class_names)
        subset = corrupted_subset(len(test)) if ships else np.arange(0)
        scores: dict[str, dict[str, Any]] = {}
        for opset in self._opsets:
            with tempfile.TemporaryDirectory() as folder:
                paths = export_candidates(
                    net, self._manifest.spec, opset, self._calib, self._calibration, Path(folder)
                )
                for precision, path in paths.items():
                    scored = self._predict(path, test, ids, subset)
                    self.predictions[sha256_file(path)] = scored
                    scores[sha256_file(path)] = {
                        "precision": precision, "opset": opset, "accuracy": float(scored.correct.mean())
                    }
        return scores

    def _predict(self, path: Path, test: Split, ids: Any, subset: npt.NDArray[np.int64]) -> Predictions:
        from nas_pipeline.export.session import open_session, predict

        session = open_session(path)
        predicted, confidence = top1(predict(session, normalise(test.images, self._manifest)))
        corrupted = {
            name: top1(predict(session, normalise(corrupt(name, test.images[subset]), self._manifest)))[0]
            for name in CORRUPTIONS
        } if len(subset) else {}
        return Predictions(ids, test.labels, predicted, confidence, subset, corrupted)
