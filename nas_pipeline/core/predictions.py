"""Predictions of model files on the test split, stored so that the split is read once only.

Retraining records them, and every registered version contains them, so that two versions can be compared image by
image. The images are not stored: an image is identified by a hash of its pixels and class.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas_pipeline.core.files import atomic_path

Ints = npt.NDArray[np.integer[Any]]

_SHARED = ("image_ids", "labels", "subset")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of one file for N test images. M of them (`subset`) were also evaluated as corrupted copies."""

    image_ids: Ints
    """uint64 [N]. Equal ids: equal pixels and class, also across data sets."""
    labels: Ints
    """[N]: true classes."""
    predicted: Ints
    """[N]: predicted classes."""
    confidence: npt.NDArray[np.float32]
    """[N]: softmax probability of the predicted class."""
    subset: Ints
    """[M]: indices of the images with corrupted copies."""
    corrupted: Mapping[str, Ints]
    """Corruption -> predicted classes [M]. Empty for files that are not deployed."""

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """[N]: whether each prediction is correct."""
        correct: npt.NDArray[np.bool_] = self.predicted == self.labels
        return correct

    def kept_accuracy(self) -> dict[str, float]:
        """Returns corruption -> accuracy on the corrupted copies / accuracy on the same clean images."""
        clean = float(self.correct[self.subset].mean()) if len(self.subset) else 0.0
        labels = self.labels[self.subset]
        return {
            name: float((predicted == labels).mean()) / clean if clean else 0.0
            for name, predicted in self.corrupted.items()
        }


def image_ids(images: npt.NDArray[np.uint8], labels: Ints, class_names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns ids uint64 [N] of images [N, H, W, C]: 8 bytes of a BLAKE2 hash of shape, class name and pixels."""
    shape = repr(images.shape[1:])
    starts = [f"{shape}|{name}|".encode() for name in class_names]
    digests = [
        hashlib.blake2b(starts[int(label)] + image.tobytes(), digest_size=8).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def top1(logits: npt.NDArray[np.float32]) -> tuple[Ints, npt.NDArray[np.float32]]:
    """Returns the predicted class int32 [N] and its softmax probability float32 [N] for logits [N, classes]."""
    predicted = logits.argmax(1)
    exponents = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    confidence = exponents[np.arange(len(logits)), predicted] / exponents.sum(1)
    return predicted.astype(np.int32), confidence.astype(np.float32)


def write_predictions(path: Path, files: Mapping[str, Predictions]) -> None:
    """Writes the predictions of several files (by sha256) for the same images. Equal values give equal bytes."""
    # Only deployable files have predictions for corrupted copies, all for the same copies. Their position varies.
    fullest = max(files.values(), key=lambda item: len(item.subset))
    arrays: dict[str, Any] = {name: getattr(fullest, name) for name in _SHARED}
    for sha256, item in files.items():
        arrays[f"{sha256}/predicted"] = item.predicted
        arrays[f"{sha256}/confidence"] = item.confidence
        arrays.update({f"{sha256}/corrupted/{name}": predicted for name, predicted in item.corrupted.items()})
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Reads predictions; returns sha256 of a model file -> predictions.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file was not written by `write_predictions`; the message names it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        shared = [arrays.pop(name) for name in _SHARED]
        return {name.split("/")[0]: _predictions_of(name.split("/")[0], shared, arrays)
                for name in arrays if name.endswith("/predicted")}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} does not contain predictions ({type(error).__name__}: {error})") from error


def _predictions_of(sha256: str, shared: Sequence[Any], arrays: Mapping[str, Any]) -> Predictions:
    ids, labels, subset = shared
    prefix = f"{sha256}/corrupted/"
    corrupted = {name.removeprefix(prefix): item for name, item in arrays.items() if name.startswith(prefix)}
    predicted, confidence = arrays[f"{sha256}/predicted"], arrays[f"{sha256}/confidence"]
    if not len(ids) == len(labels) == len(predicted) == len(confidence):
        raise ValueError("its arrays have different lengths")
    if any(len(item) != len(subset) for item in corrupted.values()) or (len(subset) and subset.max() >= len(labels)):
        raise ValueError("its corrupted copies do not match its images")
    return Predictions(ids, labels, predicted, confidence, subset, corrupted)
