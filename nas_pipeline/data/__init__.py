"""The catalogue of data set sources: where labelled images come from."""

from __future__ import annotations

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.data.source import DataSource
from nas_pipeline.data.sources.fashion_mnist import FashionMnist
from nas_pipeline.data.sources.synthetic import Synthetic

SOURCES: Catalog[DataSource] = Catalog(
    "source",
    {
        "fashion_mnist": FashionMnist,
        "synthetic": Synthetic,
    },
)
"""Name in params.yaml -> source. Covered by tests/contract/test_sources.py because it stands here."""
