from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest

from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.cell import resized
from nas_pipeline.space.load import build_network
from nas_pipeline.space.published import PUBLISHED, from_notation

CIFAR = InputSpec(3, 32, 32, 10)
FIELDS: dict[str, Any] = {
    "normal": [("skip_connect", 1), ("sep_conv_3x3", 0)], "normal_concat": [2],
    "reduce": [("max_pool_3x3", 0), ("max_pool_3x3", 1)], "reduce_concat": range(2, 3),
}
TEXT = "Genotype(" + ", ".join(f"{name}={value!r}" for name, value in FIELDS.items()) + ")"


@pytest.mark.parametrize(
    ("name", "params"), [("darts_v1", 3_169_414), ("darts_v2", 3_349_342), ("pc_darts_cifar", 3_634_678)]
)
def test_parameters_at_the_size_of_the_papers(name: str, params: int) -> None:
    """Liu et al. give 3.3 M for the second, Xu et al. 3.6 M for the third."""
    net = build_network(resized(PUBLISHED[name], 36, 20), CIFAR)
    assert sum(parameter.numel() for parameter in net.parameters()) == params
    assert resized(PUBLISHED[name], 36, 20) == PUBLISHED[name]


def test_text_mapping_and_namedtuple_say_the_same() -> None:
    kind = namedtuple("kind", FIELDS)
    genotype = from_notation(TEXT, width=8, cells=3)
    assert from_notation(FIELDS, 8, 3) == from_notation(kind(**FIELDS), 8, 3) == genotype
    genes = genotype.as_dict()
    assert (genes["width"], genes["cells"], genes["nodes"]) == (8, 3, 1)
    values = [genes[f"normal.node0.{part}"] for part in ("inputs", "op0", "op1")]
    assert values == ["0-1", "sep_conv_3x3", "skip_connect"]
    assert from_notation(f"G({', '.join(map(repr, FIELDS.values()))})", 8, 3) == genotype


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        (TEXT.replace("sep_conv_3x3", "sep_conv_7x7"), r"holds 'sep_conv_7x7', which space 'cell' does not take"),
        (TEXT.replace("1)", "0)", 1), "a node of normal reads state 0 twice"),
        (TEXT.replace("reduce_concat", "other"), "reduce_concat missing"),
        (TEXT.replace("[2]", "[]"), "normal_concat must list states"),
        (TEXT.replace("('skip_connect', 1), ", ""), "normal must list two"),
        (TEXT.replace("range(2, 3)", "__import__('os')"), "no cells in the papers' notation"),
        ("Genotype(", "no cells in the papers' notation"),
        ("[1]", "no cells in the papers' notation"),
        ({"normal": 3}, "missing"),
        (3, "normal, normal_concat, reduce, reduce_concat missing"),
        ({**FIELDS, "normal": 3}, "normal must list two"),
    ],
)
def test_bad_notation_is_named(notation: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        from_notation(notation)
