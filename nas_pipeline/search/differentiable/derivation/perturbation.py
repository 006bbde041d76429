"""Derivation by perturbation: an operation is as strong as the accuracy that its removal costs the search network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nas_pipeline.search.differentiable.derivation.integer_program import INPUTS_PER_NODE, NONE
from nas_pipeline.search.differentiable.network.mixing import KindMixing, edges

Masks = Mapping[str, Tensor]
"""Kind -> [E, O]: a number replaces the weight of the mixing, NaN leaves it."""

PerturbationScore = tuple[float, float]
"""(accuracy, -loss) of the search network under masks, larger is better; the loss decides ties."""


def masked(mixing: Mapping[str, KindMixing], masks: Masks) -> dict[str, KindMixing]:
    """Returns `mixing` with the weights that `masks` replaces; every operation of an edge is computed."""
    return {
        kind: KindMixing(torch.where(mask.isnan(), mixed.op_weights, mask.to(mixed.op_weights)), mixed.edge_weights)
        for kind, mixed in mixing.items() for mask in (masks[kind].to(mixed.op_weights.device),)
    }


def perturbation_picks(
    kinds: Sequence[str], ops: Sequence[str], nodes: int,
    evaluate: Callable[[Masks], PerturbationScore], tune: Callable[[Masks], None], stream: torch.Generator,
) -> dict[str, tuple[tuple[int, str], ...]]:
    """Selects an operation for every edge, in random order, then two edges for every node, in random order.

    Args:
        kinds: Kinds of cells.
        ops: Names of the columns; `none` is never selected.
        nodes: Inner nodes of a cell.
        evaluate: Scores the search network under masks, on images that its weights are not trained on.
        tune: Trains the weights under masks; called after each decision.
        stream: Draws the order.

    Returns:
        Picks, as `integer_program.strongest` returns them.

    Source: Wang et al., arXiv:2108.04392, algorithm 1. As there, the weight of a removed operation
    is set to 0 and the other weights are not changed.
    """
    rows = edges(nodes)
    masks = {kind: torch.full((len(rows), len(ops)), float("nan")) for kind in kinds}
    usable = [column for column, op in enumerate(ops) if op != NONE]
    chosen: dict[tuple[str, int], int] = {}
    for edge in torch.randperm(len(rows), generator=stream).tolist():
        for kind in kinds:
            scores = {op: evaluate(_without(masks, kind, edge, op)) for op in usable}
            chosen[kind, edge] = column = min(usable, key=scores.__getitem__)
            masks[kind][edge] = 0.0
            masks[kind][edge, column] = 1.0
        tune(masks)
    retained: dict[str, list[int]] = {kind: [] for kind in kinds}
    for node in torch.randperm(nodes, generator=stream).tolist():
        inputs = [edge for edge, (_, target) in enumerate(rows) if target == node]
        for kind in kinds:
            scores = {edge: evaluate(_without(masks, kind, edge)) for edge in inputs}
            strongest_first = sorted(inputs, key=scores.__getitem__)
            retained[kind] += strongest_first[:INPUTS_PER_NODE]
            for edge in strongest_first[INPUTS_PER_NODE:]:
                masks[kind][edge] = 0.0
        tune(masks)
    return {kind: tuple((edge, ops[chosen[kind, edge]]) for edge in sorted(retained[kind])) for kind in kinds}


def _without(masks: Masks, kind: str, edge: int, column: int | None = None) -> dict[str, Tensor]:
    """Returns `masks` with one operation of an edge removed; the whole edge when `column` is None."""
    changed = masks[kind].clone()
    if column is None:
        changed[edge] = 0.0
    else:
        changed[edge, column] = 0.0
    return {**masks, kind: changed}
