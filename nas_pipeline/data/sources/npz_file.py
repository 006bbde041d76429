"""An npz file with the arrays train_images and train_labels, and optionally val_* and test_*.

Source: the layout of MedMNIST (Yang et al., arXiv:2110.14795).
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from nas_pipeline.data.decode import Fit, Shape, fit, why_unreadable
from nas_pipeline.data.samples import dataset_name
from nas_pipeline.data.source import Details, RawData
from nas_pipeline.errors import ConfigError, DataError

_MAX_BYTES = 1 << 34
"""Largest declared size of one array, so that a small archive cannot fill the memory."""

_SPLITS = ("train", "val", "test")


class NpzFile:
    """`path`: the file. Images are uint8 [N, H, W] or [N, H, W, C], labels whole numbers [N] or [N, 1].

    `side`, `channels`, `fit`: shape of the images; default: unchanged. `classes`: names of the labels
    0, 1, 2, ... in this order. `name`: name of the data set; default:
    name of the file.
    """

    name = "npz"
    version = 1

    def __init__(
        self, path: str, side: int | None = None, channels: int | None = None, fit: Fit = "crop",
        classes: Sequence[str] | None = None, name: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._side, self._channels, self._fit = side, channels, fit
        self._classes = classes
        self._name = name

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "path": str(self._path),
            "side": self._side,
            "channels": self._channels,
            "fit": self._fit,
            "classes": self._classes,
            "name": self._name,
        }}

    def load(self) -> RawData:
        """Load all splits of the file; val remains val.

        Raises:
            DataError: The file or one of its arrays is malformed.
        """
        arrays = self._arrays()
        images = {split: self._images(arrays, split) for split in _SPLITS if f"{split}_images" in arrays}
        labels = {split: self._labels(arrays, split, len(images[split])) for split in images}
        if "train" not in images:
            raise DataError(f"{self._path} has no train_images, it has {', '.join(arrays) or 'nothing'}; "
                            "save the arrays under the names train_images, train_labels, test_images, test_labels")
        names = self._names(labels)
        shapes = {part.shape[1:] for part in images.values()}
        if len(shapes) > 1:
            raise DataError(f"{self._path}: the splits differ in size ({', '.join(map(str, sorted(shapes)))}); "
                            "set data.source.options.side and channels")
        training = [split for split in ("train", "val") if split in images]
        sizes = {split: np.array(arrays[f"{split}_images"].shape[2:0:-1], dtype=np.int64) for split in images}
        empty = np.empty((0, *images["train"].shape[1:]), dtype=np.uint8)

        def details(splits: Sequence[str]) -> Details:
            return Details(
                files=tuple(f"{split}#{row:06d}" for split in splits for row in range(len(labels[split]))),
                sizes=np.concatenate([np.tile(sizes[split], (len(labels[split]), 1)) for split in splits]
                                     or [np.empty((0, 2), dtype=np.int64)]),
                groups=("",) * sum(len(labels[split]) for split in splits),
                splits=tuple(split for split in splits for _ in range(len(labels[split]))),
            )

        return RawData(
            name=dataset_name(self._name, self._path.stem), class_names=names,
            train_images=np.concatenate([images[split] for split in training]),
            train_labels=np.concatenate([labels[split] for split in training]),
            test_images=images.get("test", empty), test_labels=labels.get("test", np.empty(0, dtype=np.int64)),
            train_details=details(training), test_details=details(["test"] if "test" in images else []),
            provenance={"found": str(self._path), "files": sum(map(len, labels.values())),
                        "shape": asdict(self._shape(arrays["train_images"]))},
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        wanted = {f"{split}_{kind}.npy" for split in _SPLITS for kind in ("images", "labels")}
        try:
            with zipfile.ZipFile(self._path) as archive:
                large = [item.filename for item in archive.infolist() if item.file_size > _MAX_BYTES]
            if large:
                raise DataError(f"{self._path}: {large[0]} declares more than {_MAX_BYTES:,} bytes; save fewer images")
            with np.load(self._path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files if f"{name}.npy" in wanted}
        except OSError as error:
            raise DataError(f"{self._path} {why_unreadable(error)}") from error
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{self._path} is not an npz file of plain arrays ({error}); write it with numpy.savez"
                            ) from error

    def _images(self, arrays: dict[str, np.ndarray], split: str) -> np.ndarray:
        images = arrays[f"{split}_images"]
        where = f"{self._path}, {split}_images"
        if images.ndim == 3:
            images = images[..., np.newaxis]
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape or images.shape[3] not in (1, 3):
            raise DataError(f"{where}: must be uint8 [N, H, W] or [N, H, W, 1 or 3] and not empty, got "
                            f"{images.dtype} {list(images.shape)}; convert it before it is saved")
        shape = self._shape(images)
        if images.shape[1:] == (shape.side, shape.side, shape.channels) or (self._side, self._channels) == (None, None):
            return np.ascontiguousarray(images)
        return np.stack([fit(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), shape)
                         for image in images])

    def _shape(self, images: np.ndarray) -> Shape:
        channels = images.shape[3] if images.ndim == 4 else 1
        return Shape(self._side or max(int(images.shape[1]), 8), self._channels or channels, self._fit)

    def _labels(self, arrays: dict[str, np.ndarray], split: str, count: int) -> np.ndarray:
        where = f"{self._path}, {split}_labels"
        if f"{split}_labels" not in arrays:
            raise DataError(f"{where}: there is no such array beside {split}_images; save one label per image")
        labels = arrays[f"{split}_labels"]
        if labels.shape not in ((count,), (count, 1)):
            raise DataError(f"{where}: must be [{count}] or [{count}, 1], one label per image, got "
                            f"{list(labels.shape)}; images with several labels each cannot be used here")
        labels = labels.reshape(count)
        if labels.dtype.kind not in "iuf":
            raise DataError(f"{where}: must be whole numbers 0, 1, 2, ..., got {labels.dtype}; convert them")
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels < 0) | (labels != np.floor(labels)))
        if len(wrong):
            raise DataError(f"{where}: row {wrong[0]} is {labels[wrong[0]]} ({len(wrong)} such row(s)); labels are "
                            "whole numbers from 0 on; correct these rows or leave them out")
        return labels.astype(np.int64)

    def _names(self, labels: dict[str, np.ndarray]) -> tuple[str, ...]:
        classes = 1 + max(int(values.max()) for values in labels.values())
        names = tuple(self._classes) if self._classes is not None else tuple(map(str, range(classes)))
        if len(names) < classes:
            raise ConfigError(f"{self._path} has the label {classes - 1}, data.source.options.classes names only "
                              f"{len(names)}; name all {classes}")
        if len(names) < 2:
            raise DataError(f"{self._path} has only one class; add images of another class")
        for split, values in labels.items():
            missing = [names[label] for label in range(len(names)) if label not in set(values.tolist())]
            if missing:
                raise DataError(f"{self._path}: no image of {', '.join(missing[:10])} in the split {split}; add some, "
                                "or leave the class out")
        return names
