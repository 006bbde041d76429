"""The socket for data: a source loads labelled images into memory and records where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas_pipeline.errors import DataError


@dataclass(frozen=True, slots=True)
class Details:
    """Properties of each image besides pixels and label; all four fields have one entry per image."""

    files: tuple[str, ...]
    """Readable name, unique in the data set, such as a path or a row; it is the id of the image."""
    sizes: np.ndarray
    """int64 [N, 2]: width and height of the file, before resizing."""
    groups: tuple[str, ...]
    """Images of one group (a patient, a video) stay in one split; empty: the image is its own group."""
    splits: tuple[str, ...]
    """`val` and `calib` are preserved; all other images are training images, from which these splits may be cut."""


@dataclass(frozen=True, slots=True)
class RawData:
    """A data set as published: training images, and a test split, which may be empty."""

    name: str
    class_names: tuple[str, ...]
    train_images: np.ndarray
    """uint8 [N, H, W, C]."""
    train_labels: np.ndarray
    """int64 [N], an index into `class_names`."""
    test_images: np.ndarray
    test_labels: np.ndarray
    train_details: Details | None = None
    test_details: Details | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    """Checksums, licence and so on. Only `found`, the location on this machine, may differ between machines."""

    def check(self) -> None:
        """Check types, shapes and labels against the documentation of the fields.

        Raises:
            DataError: A type, a shape or a label is wrong.
        """
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise DataError(f"{self.name}: class names must be given and differ, got {list(self.class_names)}")
        _check_split(self.name, "train", self.train_images, self.train_labels, len(self.class_names))
        if self.test_images.shape[:1] != (0,) or len(self.test_labels):
            _check_split(self.name, "test", self.test_images, self.test_labels, len(self.class_names))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"{self.name}: train images are {self.train_images.shape[1:]} and test images "
                f"{self.test_images.shape[1:]} (height, width, channels); the source must give them one size"
            )
        self._check_details()

    def _check_details(self) -> None:
        for details, labels in ((self.train_details, self.train_labels), (self.test_details, self.test_labels)):
            lengths = {len(labels)} if details is None else {
                len(labels), len(details.files), len(details.sizes), len(details.groups), len(details.splits)
            }
            if len(lengths) > 1:
                raise DataError(f"{self.name}: details and labels differ in length ({sorted(lengths)}); the source "
                                "must give one entry per image")
        files = [name for details in (self.train_details, self.test_details) if details for name in details.files]
        if len(set(files)) < len(files):
            raise DataError(f"{self.name}: the source gives two images the same name; names must differ")


@runtime_checkable
class DataSource(Protocol):
    """Loads a data set of labelled images. A new one is one class and one row of `SOURCES`.

    A source does not split, deduplicate or validate: `ingest` does that for all sources alike. Two loads with equal
    options return equal arrays.

    A source whose constructor needs options may have a classmethod `example(folder) -> dict[str, object]`. It writes
    at least 1,000 images of its format into `folder` and returns the options that load them; the contract suite of the
    catalogue uses it. `slow = True` as an attribute of the class marks its contract suite as slow.

    >>> from nas_pipeline.data.source import RawData
    >>> class BlackAndWhite:
    ...     version = 1
    ...
    ...     def key(self) -> dict[str, object]:
    ...         return {"name": "black_and_white", "version": self.version, "options": {}}
    ...
    ...     def load(self) -> RawData:
    ...         labels = np.arange(8, dtype=np.int64) % 2
    ...         images = np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None, None], (8, 4, 4, 1)).copy()
    ...         return RawData("black_and_white", ("black", "white"), images, labels, images[:2], labels[:2])
    >>> raw = BlackAndWhite().load()
    >>> raw.check()
    >>> raw.train_images.shape
    (8, 4, 4, 1)
    """

    @property
    def version(self) -> int:
        """Raised whenever equal options load other images than before."""
        ...

    def key(self) -> dict[str, object]:
        """Name, version and options, as plain data."""
        ...

    def load(self) -> RawData:
        """Returns the whole data set.

        Raises:
            DataError: The data cannot be found, or are not as expected.
        """
        ...


def _check_split(name: str, split: str, images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    where = f"{name}, {split} split"
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{where}: images must be uint8 [N, H, W, C] and not empty, got {images.dtype} {images.shape}")
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{where}: labels must be int64 [{len(images)}], one per image, got {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"{where}: labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
