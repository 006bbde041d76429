"""A folder of images with one sub-folder per class; folders train, test and val above the classes are splits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from nas_pipeline.data.decode import SUFFIXES, Fit, Shape, read_file, why_unreadable
from nas_pipeline.data.samples import SPLIT_NAMES, Sample, assemble, dataset_name
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import ConfigError, DataError

_IGNORED = ("thumbs.db", "desktop.ini")
"""Files of file managers. They are ignored, as are names that begin with a dot."""


class ImageFolder:
    r"""`path`: the folder. `side`, `channels`, `fit`, `background`: see `decode.Shape`.

    `group`: a regular expression that is searched in the path below the class folder; its first group (brackets) is
    the group of the image, as in `(patient\d+)_`. `name`: name of the data set; default: name of the folder.
    """

    name = "image_folder"
    version = 1

    def __init__(
        self, path: str, side: int = 64, channels: int = 3, fit: Fit = "crop", background: str = "white",
        group: str | None = None, name: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._shape = Shape(side, channels, fit, background)
        self._name = name
        try:
            self._group = re.compile(group) if group else None
        except re.error as error:
            raise ConfigError(f"source option group: {group!r} is not a regular expression ({error})") from None
        if self._group is not None and not self._group.groups:
            raise ConfigError(f"source option group: {group!r} has no brackets; put them around the name of the group")

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "path": str(self._path),
            "side": self._shape.side,
            "channels": self._shape.channels,
            "fit": self._shape.fit,
            "background": self._shape.background,
            "group": self._group.pattern if self._group else None,
            "name": self._name,
        }}

    def load(self) -> RawData:
        """Load all images of all classes.

        Raises:
            DataError: The folder is malformed, or an image cannot be used.
        """
        return assemble(
            dataset_name(self._name, self._path.resolve().name), self.samples(), self._shape, classes=None,
            location=str(self._path), remedy="the folders (its folder is an image's label)",
        )

    def samples(self) -> list[Sample]:
        """List all images without opening them, in the order of their paths.

        Raises:
            DataError: The folder is missing, it has no classes, a class is empty, or it has unexpected files.
        """
        if not self._path.is_dir():
            raise DataError(f"there is no folder {self._path}; name one with a sub-folder of images per class")
        top = _folders(self._path)
        if {"train", "test"} <= {folder.name for folder in top} <= set(SPLIT_NAMES):
            return [sample for folder in top for sample in self._of_classes(folder, folder.name)]
        return self._of_classes(self._path, "")

    def _of_classes(self, folder: Path, split: str) -> list[Sample]:
        loose = [path.name for path in _entries(folder) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
        if loose:
            raise DataError(f"{folder / loose[0]} lies beside the class folders, so it has no class ({len(loose)} such "
                            "image(s)); move each into the folder of its class")
        samples = []
        for member in _folders(folder):
            files = list(_walk(member, (folder.resolve(),)))
            if not files:
                raise DataError(f"the class folder {member} has no image; add images or remove the folder")
            samples += [self._sample(path, member, split) for path in files]
        if not samples:
            raise DataError(f"{folder} has no class folders; make one sub-folder per class and put its images there")
        return samples

    def _sample(self, path: Path, folder: Path, split: str) -> Sample:
        group = ""
        if self._group is not None:
            below = path.relative_to(folder).as_posix()
            match = self._group.search(below)
            if match is None or not match[1]:
                raise DataError(f"{path}: data.source.options.group does not match {below!r}; correct the "
                                "expression, or the file's name")
            group = match[1]
        return Sample(path.relative_to(self._path).as_posix(), partial(read_file, path), folder.name, split, group)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir()
                      if not path.name.startswith(".") and path.name.lower() not in _IGNORED)
    except OSError as error:
        raise DataError(f"{folder} {why_unreadable(error)}") from error


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _walk(folder: Path, above: Sequence[Path]) -> Iterator[Path]:
    """Image files at any depth. Symbolic links are followed, except to a parent folder."""
    resolved = folder.resolve()
    if resolved in above:
        raise DataError(f"{folder} is a symbolic link to {resolved}, a folder above it; remove the link")
    for path in _entries(folder):
        if path.is_dir():
            yield from _walk(path, (*above, resolved))
        elif path.suffix.lower() in SUFFIXES:
            yield path
        else:
            raise DataError(f"{path} is not an image of a supported type ({', '.join(SUFFIXES)}); "
                            "convert it or move it out of the class folders")
