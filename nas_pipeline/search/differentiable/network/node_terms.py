"""The terms of one node: collected edge by edge, then computed in one step."""

from __future__ import annotations

from torch import Tensor, nn

from nas_pipeline.search.differentiable.network.candidates import HalvingTerm, SharedTerm, TermKind, ZeroTerm
from nas_pipeline.search.differentiable.network.chains import Chain, Unit
from nas_pipeline.search.differentiable.network.fused_node import NodePlan, fused_node, measured_here, plain_node
from nas_pipeline.search.differentiable.network.shared_maps import shared_map
from nas_pipeline.search.differentiable.network.states import CellState, halved


class NodeTerms:
    """The weighted terms of one node."""

    def __init__(self) -> None:
        """Starts with no terms."""
        self._sources: dict[int, tuple[int, Tensor]] = {}
        self._chains: list[tuple[int, tuple[Unit, ...], list[Tensor], tuple[int, int]]] = []
        self._terms: list[tuple[Tensor, tuple[int, int]]] = []

    def add(self, state: CellState, candidate: nn.Module, kind: TermKind, entry: tuple[int, int]) -> None:
        """Adds the term of one candidate on one edge.

        Args:
            state: The source of the edge.
            candidate: The operation.
            kind: Result of `term_kind(candidate)`.
            entry: Row and column of its weight in the op weights.
        """
        match kind:
            case ZeroTerm():
                return
            case SharedTerm(key):
                self._terms.append((state.once(key, lambda: shared_map(candidate, state.processed)), entry))
            case HalvingTerm(layer):
                self._terms.append((halved(layer, state.rectified(2), state.rectified(2, first=1)), entry))
            case Chain(units, layers):
                first, step = units[0], 1
                if first.stride > 1 and first.dilation % first.stride == 0:
                    # The taps fall on every stride-th pixel only, so the other pixels are not needed.
                    step = first.stride
                    units = (Unit(first.kernel, 1, first.dilation // step, first.eps), *units[1:])
                source = self._source(state.rectified(step))
                self._chains.append((source, units, [layer.weight for layer in layers], entry))
            case None:
                self._terms.append((candidate(state.processed), entry))

    def _source(self, rectified: Tensor) -> int:
        return self._sources.setdefault(id(rectified), (len(self._sources), rectified))[0]

    def total(self, op_weights: Tensor) -> Tensor | None:
        """Returns the node, None if it has no terms. op_weights: [E, O]."""
        entries = [entry for *_, entry in self._chains] + [entry for _, entry in self._terms]
        if not entries:
            return None
        rows, columns = zip(*entries, strict=True)
        plan = NodePlan(
            len(self._sources), tuple(source for source, *_ in self._chains),
            tuple(units for _, units, *_ in self._chains), len(self._terms),
        )
        tensors = [rectified for _, rectified in self._sources.values()] + [term for term, _ in self._terms]
        for _, _, weights, _ in self._chains:
            tensors += weights
        compute = fused_node if measured_here(tensors) else plain_node
        return compute(plan, op_weights[list(rows), list(columns)], tensors)
