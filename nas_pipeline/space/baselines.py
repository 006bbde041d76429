"""Hand-designed networks as genotypes.

A search is compared with them: it is worth its cost only if its network is better.
"""

from __future__ import annotations

from nas_pipeline.core.genotype import Gene, Genotype


def _mobile_stage(number: int, width: int) -> list[tuple[str, Gene]]:
    """Genes of two depthwise separable blocks as in MobileNet: expansion 1, kernel 3x3."""
    name = f"stage{number}"
    return [
        (f"{name}.operation", "inverted_residual"), (f"{name}.depth", 2), (f"{name}.width", width),
        (f"{name}.kernel", 3), (f"{name}.expansion", 1), (f"{name}.squeeze_excitation", False), (f"{name}.skip", True),
    ]


def _residual_stage(number: int, width: int) -> list[tuple[str, Gene]]:
    """Genes of a pooled transition and one residual block."""
    name = f"stage{number}"
    return [
        (f"{name}.width", width), (f"{name}.transition", "pool"), (f"{name}.blocks", 1),
        (f"{name}.squeeze_excitation", False),
    ]


BASELINES: dict[str, Genotype] = {
    "depthwise_separable": Genotype("mbconv", 1, (
        ("stem.width", 32), ("stem.stride", 1), ("stages", 4),
        *_mobile_stage(1, 32), *_mobile_stage(2, 48), *_mobile_stage(3, 64), *_mobile_stage(4, 96),
        ("head.width", 192),
    )),
    "dense_residual": Genotype("residual", 1, (
        ("stem.width", 32), ("stem.stride", 1), ("stages", 2),
        *_residual_stage(1, 48), *_residual_stage(2, 96),
        ("pooling", "avg"),
    )),
}
"""Name -> genotype. The first follows Howard et al., arXiv:1704.04861, the second He et al., arXiv:1512.03385."""
