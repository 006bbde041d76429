"""The catalogue of sources of labelled images."""

from __future__ import annotations

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.data.source import DataSource
from nas_pipeline.data.sources.csv_file import CsvFile
from nas_pipeline.data.sources.fashion_mnist import FashionMnist
from nas_pipeline.data.sources.image_folder import ImageFolder
from nas_pipeline.data.sources.npz_file import NpzFile
from nas_pipeline.data.sources.parquet_file import ParquetFile
from nas_pipeline.data.sources.synthetic import Synthetic

SOURCES: Catalog[DataSource] = Catalog(
    "source",
    {
        "fashion_mnist": FashionMnist,
        "synthetic": Synthetic,
        "image_folder": ImageFolder,
        "csv": CsvFile,
        "npz": NpzFile,
        "parquet": ParquetFile,
    },
    entry_points="nas_pipeline.sources",
)
"""Name in params.yaml -> source."""
