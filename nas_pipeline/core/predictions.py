"""What a file that may ship said about each test image, kept so that nobody has to read the test split again.

Recorded in retraining's one reading; carried by every registered version, so that two versions can be compared image
by image. The images themselves are not in it: an image is known by a hash of its pixels and its class.
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
    """One file's answers. N test images, M of them (`subset`) also in corrupted copies."""

    image_ids: Ints
    """uint64 [N]: equal ids are equal pixels of the same class, in whatever data set."""
    labels: Ints
    """[N]: class numbers."""
    predicted: Ints
    """[N]."""
    confidence: npt.NDArray[np.float32]
    """[N]: softmax probability of the predicted class."""
    subset: Ints
    """[M]: positions of the images that were corrupted too."""
    corrupted: Mapping[str, Ints]
    """Corruption -> predicted classes [M]; empty for files that do not ship."""

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """[N]: whether each image was classified rightly."""
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right

    def kept_accuracy(self) -> dict[str, float]:
        """Corruption -> accuracy on the corrupted copies as a share of that on the same clean images."""
        clean = float(self.correct[self.subset].mean()) if len(self.subset) else 0.0
        labels = self.labels[self.subset]
        return {
            name: float((answers == labels).mean()) / clean if clean else 0.0
            for name, answers in self.corrupted.items()
        }


def image_ids(images: npt.NDArray[np.uint8], labels: Ints, class_names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """uint64 [N] of images [N, H, W, C]: the first 8 bytes of a BLAKE2 over shape, class name and pixels."""
    shape = repr(images.shape[1:])
    starts = [f"{shape}|{name}|".encode() for name in class_names]
    digests = [
        hashlib.blake2b(starts[int(label)] + image.tobytes(), digest_size=8).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def top1(logits: npt.NDArray[np.float32]) -> tuple[Ints, npt.NDArray[np.float32]]:
    """Predicted class int32 [N] and its softmax probability float32 [N], of logits [N, classes]."""
    predicted = logits.argmax(1)
    exponents = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    confidence = exponents[np.arange(len(logits)), predicted] / exponents.sum(1)
    return predicted.astype(np.int32), confidence.astype(np.float32)


def write_predictions(path: Path, files: Mapping[str, Predictions]) -> None:
    """Write the answers of several files, by sha256 of the file, about the same images. Equal values, equal bytes."""
    # Of the files only those that may ship saw corrupted copies, all of them the same; which come first, nobody says.
    fullest = max(files.values(), key=lambda item: len(item.subset))
    arrays: dict[str, Any] = {name: getattr(fullest, name) for name in _SHARED}
    for sha256, item in files.items():
        arrays[f"{sha256}/predicted"] = item.predicted
        arrays[f"{sha256}/confidence"] = item.confidence
        arrays.update({f"{sha256}/corrupted/{name}": answers for name, answers in item.corrupted.items()})
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_predictions(path: Path) -> dict[str, Predictions]:
    """sha256 of a file -> its answers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not what `write_predictions` wrote; the message names it.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        shared = [arrays.pop(name) for name in _SHARED]
        return {name.split("/")[0]: _one(name.split("/")[0], shared, arrays)
                for name in arrays if name.endswith("/predicted")}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no predictions ({type(error).__name__}: {error})") from error


def _one(sha256: str, shared: Sequence[Any], arrays: Mapping[str, Any]) -> Predictions:
    ids, labels, subset = shared
    prefix = f"{sha256}/corrupted/"
    corrupted = {name.removeprefix(prefix): item for name, item in arrays.items() if name.startswith(prefix)}
    predicted, confidence = arrays[f"{sha256}/predicted"], arrays[f"{sha256}/confidence"]
    if not len(ids) == len(labels) == len(predicted) == len(confidence):
        raise ValueError("its arrays have different lengths")
    if any(len(item) != len(subset) for item in corrupted.values()) or (len(subset) and subset.max() >= len(labels)):
        raise ValueError("its corrupted copies do not go with its images")
    return Predictions(ids, labels, predicted, confidence, subset, corrupted)
