"""A CSV file with one row per image: path, label, and optionally split and group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from nas_pipeline.data.decode import Fit, Shape, read_file, why_unreadable
from nas_pipeline.data.samples import Sample, assemble, dataset_name
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import DataError

_NEEDED, _OPTIONAL = ("path", "label"), ("split", "group")


class CsvFile:
    """`path`: the file, with the columns path and label, and optionally split (train, val, calib, test) and group.

    `images`: folder to which the paths are relative; default: the folder of the file. `classes`: the allowed labels.
    `side`, `channels`, `fit`, `background`: see `decode.Shape`. `name`: name of the data set; default: the file's.
    """

    name = "csv"
    version = 1

    def __init__(
        self, path: str, images: str | None = None, classes: Sequence[str] | None = None, side: int = 64,
        channels: int = 3, fit: Fit = "crop", background: str = "white", name: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._images = Path(images) if images is not None else self._path.parent
        self._classes = classes
        self._shape = Shape(side, channels, fit, background)
        self._name = name

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "path": str(self._path),
            "images": str(self._images),
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
            DataError: The file is malformed, or an image cannot be used.
        """
        return assemble(
            dataset_name(self._name, self._path.stem), self._samples(), self._shape, classes=self._classes,
            location=str(self._path), remedy=str(self._path),
        )

    def _samples(self) -> list[Sample]:
        table = self._table()
        columns = [table[name] if name in table else [""] * len(table) for name in (*_NEEDED, *_OPTIONAL)]
        return [
            Sample(path, partial(read_file, self._images / path), label, split, group)
            for path, label, split, group in zip(*columns, strict=True)
        ]

    def _table(self) -> pd.DataFrame:
        try:
            table = pd.read_csv(self._path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except OSError as error:
            raise DataError(f"{self._path} {why_unreadable(error)}") from error
        except (ValueError, pd.errors.ParserError) as error:  # not UTF-8, rows of different lengths, or empty
            reason = str(error).strip()
            raise DataError(f"{self._path} is not a CSV file in UTF-8 ({reason}); save it as one") from error
        missing = [name for name in _NEEDED if name not in table]
        if missing:
            raise DataError(f"{self._path} has no column {', '.join(missing)}, it has {', '.join(map(str, table))}; "
                            f"its first line must name {', '.join(_NEEDED)} and optionally {', '.join(_OPTIONAL)}")
        return table
