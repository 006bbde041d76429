from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.darts_step.reference import Reference, copy_weights
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.mixing import (
    KINDS,
    Mixing,
    edges,
    gumbel_mixing,
    partial_mixing,
    softmax_mixing,
)
from nas_pipeline.search.differentiable.search_network import SearchNetwork

SPEC = InputSpec(3, 8, 8, 5)
WEIGHTS_OF_THE_PAPER = 1_930_618


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def twins(partial: int = 1, cells: int = 4, dtype: torch.dtype = torch.float64) -> tuple[SearchNetwork, Reference]:
    ours = SearchNetwork(SPEC, width=4, cells=cells, partial=partial).to(dtype)
    reference = Reference(3, 5, width=4, cells=cells, partial=partial).to(dtype)
    copy_weights(ours.weights(), list(reference.parameters()))
    with torch.no_grad():
        for parameter in ours.architecture():  # far from uniform, so that a mixed-up row is seen
            parameter.normal_()
    return ours, reference


def batch(dtype: torch.dtype = torch.float64, size: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 3, size, size, dtype=dtype), torch.randint(5, (4,))


def expected(reference: Reference, x: Tensor, mixing: Mixing) -> Tensor:
    weights = {kind: mixing[kind].op_weights for kind in KINDS}
    edge_weights = {kind: mixing[kind].edge_weights for kind in KINDS}
    chosen = {kind: mixing[kind].chosen for kind in KINDS}
    scores: Tensor = reference(x, weights, edge_weights, chosen)
    return scores


def mixing_of(net: SearchNetwork, variant: str) -> Mixing:
    if variant == "gdas":
        return gumbel_mixing(net, 2.0, torch.Generator().manual_seed(3))
    return partial_mixing(net) if variant == "pc_darts" else softmax_mixing(net)


def worst(mine: list[Tensor | None], theirs: list[Tensor | None]) -> float:
    """The largest relative difference; a missing gradient is one of zeros."""
    scale = max(float(b.norm()) for b in theirs if b is not None)
    found = 0.0
    for a, b in zip(mine, theirs, strict=True):
        if a is None and b is None:
            continue
        a = torch.zeros_like(b) if a is None else a
        b = torch.zeros_like(a) if b is None else b
        assert a.shape == b.shape
        found = max(found, float((a - b).norm()) / max(float(b.norm()), 1e-6 * scale))
    return found


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("variant", ["darts", "pc_darts", "gdas"])
def test_output_and_all_gradients_are_those_of_the_straightforward_network(variant: str, size: int) -> None:
    ours, reference = twins(partial=2 if variant == "pc_darts" else 1)
    x, y = batch(size=size)
    x.requires_grad_()
    mixing = mixing_of(ours, variant)
    theirs = expected(reference, x, mixing)
    mine = ours(x, mixing)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    wanted = [*ours.architecture(), x]
    mine_all = torch.autograd.grad(
        F.cross_entropy(mine, y), [*wanted, *ours.weights()], retain_graph=True, allow_unused=True
    )
    theirs_all = torch.autograd.grad(
        F.cross_entropy(theirs, y), [*wanted, *reference.parameters()], allow_unused=True
    )
    assert worst(list(mine_all), list(theirs_all)) < 1e-10
