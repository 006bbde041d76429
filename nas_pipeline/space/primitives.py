"""Names of the operations on the edges of cells: rows of OPS, listed apart because decisions need no torch."""

from __future__ import annotations

PRIMITIVES = (
    "none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "avg_pool_3x3",
    "max_pool_3x3",
)
"""What DARTS mixes on every edge. Source: Liu et al., arXiv:1806.09055, section 3.1."""

BENCHMARK_PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""What NAS-Bench-201 chooses from. Source: Dong and Yang, arXiv:2001.00326, section 2.1."""
