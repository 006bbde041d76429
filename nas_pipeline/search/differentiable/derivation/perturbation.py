"""Another way to derive: an operation is worth what the search network loses when it is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nas_pipeline.search.differentiable.derivation.integer_program import INPUTS_PER_NODE, NONE
from nas_pipeline.search.differentiable.network.mixing import KindMixing, edges

Masks = Mapping[str, Tensor]
"""Kind -> [E, O]: NaN leaves the mixing's weight as it is, a number replaces it."""

PerturbationScore = tuple[float, float]
"""(accuracy, -loss) of the search network under masks, larger is better; the loss decides ties."""


def masked(mixing: Mapping[str, KindMixing], masks: Masks) -> dict[str, KindMixing]:
    """`mixing` with the weights that `masks` replace; every operation of an edge is computed."""
    return {
        kind: KindMixing(torch.where(mask.isnan(), mixed.op_weights, mask.to(mixed.op_weights)), mixed.edge_weights)
        for kind, mixed in mixing.items() for mask in (masks[kind].to(mixed.op_weights.device),)
    }


def perturbation_picks(
    kinds: Sequence[str], ops: Sequence[str], nodes: int,
    evaluate: Callable[[Masks], PerturbationScore], tune: Callable[[Masks], None], stream: torch.Generator,
) -> dict[str, tuple[tuple[int, str], ...]]:
    """First an operation for every edge, in random order; then two edges for every node, in random order.

    Args:
        kinds: Kinds of cells.
        ops: Names of the columns; `none` is never taken.
        nodes: Inner nodes of a cell.
        evaluate: The search network's score under masks, on images that its weights are not fitted to.
        tune: Called after each decision, to let the weights settle.
        stream: Draws the order.

    Returns:
        The (edge, operation) pairs that are kept, as `derive.strongest` gives them.

    Source: Wang et al., arXiv:2108.04392, algorithm 1. As there, a weight that is taken away is set to 0 and the
    others stay.
    """
    rows = edges(nodes)
    masks = {kind: torch.full((len(rows), len(ops)), float("nan")) for kind in kinds}
    usable = [column for column, op in enumerate(ops) if op != NONE]
    chosen: dict[tuple[str, int], int] = {}
    for edge in torch.randperm(len(rows), generator=stream).tolist():
        for kind in kinds:
            left = {op: evaluate(_without(masks, kind, edge, op)) for op in usable}
            chosen[kind, edge] = column = min(usable, key=left.__getitem__)
            masks[kind][edge] = 0.0
            masks[kind][edge, column] = 1.0
        tune(masks)
    kept: dict[str, list[int]] = {kind: [] for kind in kinds}
    for node in torch.randperm(nodes, generator=stream).tolist():
        inputs = [edge for edge, (_, target) in enumerate(rows) if target == node]
        for kind in kinds:
            left = {edge: evaluate(_without(masks, kind, edge)) for edge in inputs}
            by_worth = sorted(inputs, key=left.__getitem__)
            kept[kind] += by_worth[:INPUTS_PER_NODE]
            for edge in by_worth[INPUTS_PER_NODE:]:
                masks[kind][edge] = 0.0
        tune(masks)
    return {kind: tuple((edge, ops[chosen[kind, edge]]) for edge in sorted(kept[kind])) for kind in kinds}


def _without(masks: Masks, kind: str, edge: int, column: int | None = None) -> dict[str, Tensor]:
    changed = masks[kind].clone()
    if column is None:
        changed[edge] = 0.0
    else:
        changed[edge, column] = 0.0
    return {**masks, kind: changed}
