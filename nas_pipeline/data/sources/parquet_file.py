"""Parquet files with the bytes of image files: one file, or a folder of files named after their splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nas_pipeline.data.decode import Fit, Shape, why_unreadable
from nas_pipeline.data.samples import SPLIT_NAMES, Sample, assemble, dataset_name
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import DataError

_OPTIONAL = ("split", "group", "id")


class ParquetFile:
    """`path`: a file, or a folder with files named train*.parquet, test*.parquet, val*.parquet.

    `image` and `label` name the columns: bytes (or a structure with a field `bytes`) and a text or a whole number.
    The columns split, group and id are optional. `classes`: the allowed labels. `side`, `channels`, `fit`,
    `background`: see `decode.Shape`. `name`: name of the data set; default: name of the file.
    """

    name = "parquet"
    version = 1

    def __init__(
        self, path: str, image: str = "image", label: str = "label", classes: Sequence[str] | None = None,
        side: int = 64, channels: int = 3, fit: Fit = "crop", background: str = "white", name: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._image, self._label = image, label
        self._classes = classes
        self._shape = Shape(side, channels, fit, background)
        self._name = name

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "path": str(self._path),
            "image": self._image,
            "label": self._label,
            "classes": self._classes,
            "side": self._shape.side,
            "channels": self._shape.channels,
            "fit": self._shape.fit,
            "background": self._shape.background,
            "name": self._name,
        }}

    def load(self) -> RawData:
        """Load the images of all rows.

        Raises:
            DataError: A file is malformed, or an image cannot be used.
        """
        files = sorted(self._path.glob("*.parquet")) if self._path.is_dir() else [self._path]
        return assemble(
            dataset_name(self._name, self._path.stem), [sample for file in files for sample in self._samples(file)],
            self._shape, classes=self._classes, location=str(self._path), remedy=f"the column {self._label}",
        )

    def _samples(self, file: Path) -> list[Sample]:
        table = _read(file)
        missing = [name for name in (self._image, self._label) if name not in table.column_names]
        if missing:
            raise DataError(f"{file} has no column {', '.join(missing)}, it has {', '.join(table.column_names)}; "
                            "name yours in data.source.options.image and label")
        images = [_content(value) for value in table.column(self._image)]
        rows = {name: table.column(name).to_pylist() if name in table.column_names else [None] * len(images)
                for name in (self._label, *_OPTIONAL)}
        split = self._split_of(file)
        return [
            Sample(
                name=_text(rows["id"][row]) or f"{file.name}#{row:06d}", read=partial(_checked_content, image),
                label=_text(rows[self._label][row]), split=_text(rows["split"][row]) or split,
                group=_text(rows["group"][row]),
            )
            for row, image in enumerate(images)
        ]

    def _split_of(self, file: Path) -> str:
        word = re.split(r"[^a-z]", file.stem.lower(), maxsplit=1)[0]
        return SPLIT_NAMES.get(word, "") if file != self._path else ""


def _read(file: Path) -> pa.Table:
    try:
        with file.open("rb") as stream:  # opened here because the errors of pyarrow do not name the cause
            return pq.read_table(stream)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{file} is not a parquet file ({error}); write it again") from error
    except OSError as error:
        raise DataError(f"{file} {why_unreadable(error)}") from error


def _content(value: Any) -> bytes | None:
    """Bytes of a cell: the cell itself, or its field `bytes`."""
    plain = value.as_py()
    if isinstance(plain, dict):
        plain = plain.get("bytes")
    return plain if isinstance(plain, bytes) else None


def _checked_content(content: bytes | None) -> bytes:
    if content is None:
        raise DataError("has no bytes in its image column; put the image file's bytes there")
    return content


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():  # integers in a column with empty cells are floats
        value = int(value)
    return "" if value is None else str(value)
