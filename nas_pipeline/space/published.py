"""Published cells, in the notation of their papers; searches are compared with them.

The notation lists for every node its two operations with the states that they read:
`Genotype(normal=[("sep_conv_3x3", 0), ("skip_connect", 1), ...], normal_concat=[2, 3, 4, 5], reduce=[...],
reduce_concat=range(2, 6))`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.cell import genotype_of
from nas_pipeline.space.cell_plan import Cell, CellPlan, Node

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_WIDTH, _CELLS = 36, 20
"""Size of the networks that the papers train on CIFAR-10. Source: Liu et al., arXiv:1806.09055, section 3.2."""


def from_notation(notation: str | Mapping[str, Any] | object, width: int = _WIDTH, cells: int = _CELLS) -> Genotype:
    """Return the genotype of cells in the papers' notation: text, a mapping with the four fields, or their namedtuple.

    Text is parsed, never executed.

    Raises:
        SpaceError: The value is not in this notation, or is not a member of the space `cell` (an operation is not in
            the catalogue, or a node reads one state twice).
    """
    fields = _parsed(notation) if isinstance(notation, str) else notation
    if not isinstance(fields, Mapping):
        fields = {name: getattr(fields, name, None) for name in _FIELDS}
    lacking = [name for name in _FIELDS if fields.get(name) is None]
    if lacking:
        raise SpaceError(f"no cells in the papers' notation: {', '.join(lacking)} missing; it has the fields "
                         f"{', '.join(_FIELDS)}")
    normal, reduce = (_cell(kind, fields[kind], fields[f"{kind}_concat"]) for kind in ("normal", "reduce"))
    return genotype_of(CellPlan(width, cells, normal, reduce))


def _parsed(text: str) -> dict[str, Any]:
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no call")
        nodes = dict(zip(_FIELDS, call.args, strict=False))
        nodes |= {keyword.arg or "": keyword.value for keyword in call.keywords}
        return {name: _value(node) for name, node in nodes.items()}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise SpaceError(f"no cells in the papers' notation: {text!r:.100}; write Genotype(normal=[...], "
                         "normal_concat=[...], reduce=[...], reduce_concat=[...])") from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        return range(*(ast.literal_eval(argument) for argument in node.args))
    return ast.literal_eval(node)


def _cell(kind: str, pairs: Any, concat: Any) -> Cell:
    if not isinstance(pairs, Sequence) or len(pairs) % 2 or not pairs or not all(map(_is_edge, pairs)):
        raise SpaceError(f"cells in the papers' notation: {kind} must list two (operation, state) pairs for each node, "
                         f"got {pairs!r:.200}")
    if not isinstance(concat, Sequence) or not concat or not all(type(state) is int for state in concat):
        raise SpaceError(f"cells in the papers' notation: {kind}_concat must list states, got {concat!r:.100}")
    nodes = []
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        (op0, state0), (op1, state1) = sorted((first, second), key=lambda edge: int(edge[1]))
        if state0 == state1:
            raise SpaceError(f"cells in the papers' notation: a node of {kind} reads state {state0} twice "
                             f"({op0}, {op1}); a node must read two different states")
        nodes.append(Node((state0, state1), (op0, op1)))
    return Cell(tuple(nodes), tuple(sorted(concat)))


def _is_edge(value: Any) -> bool:
    return (isinstance(value, Sequence) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int)


PUBLISHED: dict[str, Genotype] = {
    # Liu et al., arXiv:1806.09055, figures 4 and 5 of the first version: first and second order.
    "darts_v1": from_notation(
        "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
        "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], "
        "normal_concat=[2, 3, 4, 5], "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), "
        "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], "
        "reduce_concat=[2, 3, 4, 5])"
    ),
    "darts_v2": from_notation(
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
        "normal_concat=[2, 3, 4, 5], "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
        "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
        "reduce_concat=[2, 3, 4, 5])"
    ),
    # Xu et al., arXiv:1907.05737, figure 4 (CIFAR-10).
    "pc_darts_cifar": from_notation(
        "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), "
        "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], "
        "normal_concat=range(2, 6), "
        "reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], "
        "reduce_concat=range(2, 6))"
    ),
}
"""Name -> genotype, at the width and depth of its paper."""
