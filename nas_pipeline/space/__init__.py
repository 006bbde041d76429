"""The catalogue of search spaces. Importing them and making their decisions needs no torch; building networks does."""

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.space.cell import CellSpace
from nas_pipeline.space.flexible_cnn import FlexibleCnnSpace
from nas_pipeline.space.mbconv import MBConvSpace
from nas_pipeline.space.nasbench201 import NasBench201Space
from nas_pipeline.space.residual import ResidualSpace

SPACES: Catalog[SearchSpace] = Catalog("space", {
    "mbconv": MBConvSpace,
    "flexible_cnn": FlexibleCnnSpace,
    "residual": ResidualSpace,
    "cell": CellSpace,
    "nasbench201": NasBench201Space,
}, entry_points="nas_pipeline.spaces")
"""Name in params.yaml -> space. Options of a constructor narrow the space; they never change the id of a member."""
