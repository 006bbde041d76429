from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.darts_step.reference import Reference, copy_weights
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.network import fused_node
from nas_pipeline.search.differentiable.network.mixing import (
    KINDS,
    KindMixing,
    Mixing,
    gumbel_mixing,
    partial_mixing,
    softmax_mixing,
)
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

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
        for parameter in ours.architecture():  # far from uniform, so that a permuted row is detected
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


def worst(actual: list[Tensor | None], desired: list[Tensor | None]) -> float:
    """The largest relative difference; a missing gradient is one of zeros."""
    scale = max(float(b.norm()) for b in desired if b is not None)
    largest = 0.0
    for a, b in zip(actual, desired, strict=True):
        if a is None and b is None:
            continue
        a = torch.zeros_like(b) if a is None else a
        b = torch.zeros_like(a) if b is None else b
        assert a.shape == b.shape
        largest = max(largest, float((a - b).norm()) / max(float(b.norm()), 1e-6 * scale))
    return largest


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("variant", ["darts", "pc_darts", "gdas"])
def test_output_and_all_gradients_are_those_of_the_straightforward_network(variant: str, size: int) -> None:
    ours, reference = twins(partial=2 if variant == "pc_darts" else 1)
    x, y = batch(size=size)
    x.requires_grad_()
    mixing = mixing_of(ours, variant)
    desired = expected(reference, x, mixing)
    actual = ours(x, mixing)
    torch.testing.assert_close(actual, desired, rtol=1e-10, atol=1e-12)
    wanted = [*ours.architecture(), x]
    actual_all = torch.autograd.grad(
        F.cross_entropy(actual, y), [*wanted, *ours.weights()], retain_graph=True, allow_unused=True
    )
    desired_all = torch.autograd.grad(
        F.cross_entropy(desired, y), [*wanted, *reference.parameters()], allow_unused=True
    )
    assert worst(list(actual_all), list(desired_all)) < 1e-10


@pytest.mark.parametrize("variant", ["darts", "pc_darts", "gdas"])
def test_single_precision_is_as_near_as_single_precision_gets(variant: str) -> None:
    ours, reference = twins(partial=2 if variant == "pc_darts" else 1, dtype=torch.float32)
    x, y = batch(torch.float32)
    mixing = mixing_of(ours, variant)
    desired = expected(reference, x, mixing)
    actual = ours(x, mixing)
    torch.testing.assert_close(actual, desired, rtol=1e-3, atol=1e-4)
    actual_all = torch.autograd.grad(F.cross_entropy(actual, y), ours.weights(), allow_unused=True)
    desired_all = torch.autograd.grad(F.cross_entropy(desired, y), list(reference.parameters()), allow_unused=True)
    together = [torch.cat([g.flatten() for g in grads if g is not None]) for grads in (actual_all, desired_all)]
    assert float((together[0] - together[1]).norm() / together[1].norm()) < 1e-3


@pytest.mark.parametrize("variant", ["darts", "pc_darts", "gdas"])
def test_the_alpha_pass_with_frozen_weights_gives_the_same_alpha_gradients(variant: str) -> None:
    ours, _ = twins(partial=2 if variant == "pc_darts" else 1)
    x, y = batch()

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(F.cross_entropy(ours(x, mixing_of(ours, variant)), y), ours.architecture())

    free = gradients()
    for weight in ours.weights():
        weight.requires_grad_(False)
    for actual, desired in zip(gradients(), free, strict=True):
        torch.testing.assert_close(actual, desired, rtol=1e-10, atol=1e-14)


def test_one_frozen_chain_among_free_ones() -> None:
    ours, reference = twins()
    x, y = batch()
    frozen = ours.weights()[7:40]
    for weight in frozen:
        weight.requires_grad_(False)
    free = [weight for weight in ours.weights() if weight.requires_grad]
    desired = [b for a, b in zip(ours.weights(), reference.parameters(), strict=True) if a.requires_grad]
    mixing = softmax_mixing(ours)
    actual_all = torch.autograd.grad(F.cross_entropy(ours(x, mixing), y), free, retain_graph=True)
    desired_all = torch.autograd.grad(F.cross_entropy(expected(reference, x, mixing), y), desired)
    assert worst(list(actual_all), list(desired_all)) < 1e-10


@pytest.mark.parametrize("variant", ["darts", "pc_darts", "gdas"])
def test_second_derivatives_are_those_of_the_straightforward_network(variant: str) -> None:
    ours, reference = twins(partial=2 if variant == "pc_darts" else 1, cells=3)
    x, y = batch(size=6)
    alphas = ours.architecture()
    mixing = mixing_of(ours, variant)

    def products(scores: Tensor, weights: list[nn.Parameter]) -> list[Tensor | None]:
        """(d2 L / d weights d alphas) and (d2 L / d alphas2), each times one fixed direction."""
        slopes = torch.autograd.grad(
            F.cross_entropy(scores, y), [*weights, *alphas], create_graph=True, allow_unused=True
        )
        generator = torch.Generator().manual_seed(1)
        along = sum(
            (slope * torch.randn(slope.shape, generator=generator, dtype=slope.dtype)).sum()
            for slope in slopes if slope is not None
        )
        return list(torch.autograd.grad(along, [*weights, *alphas], allow_unused=True, retain_graph=True))

    actual = products(ours(x, mixing), ours.weights())
    desired = products(expected(reference, x, mixing), list(reference.parameters()))
    assert worst(actual, desired) < 1e-8


def test_second_derivatives_in_single_precision() -> None:
    ours, _ = twins(cells=3, dtype=torch.float32)
    x, y = batch(torch.float32)
    slopes = torch.autograd.grad(
        F.cross_entropy(ours(x, softmax_mixing(ours)), y), ours.weights(), create_graph=True, allow_unused=True
    )
    squares = sum(slope.square().sum() for slope in slopes if slope is not None)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(squares, ours.architecture()))


def test_where_nothing_was_measured_the_plain_form_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = twins(cells=3)
    x, y = batch()
    mixing = softmax_mixing(ours)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(F.cross_entropy(ours(x, mixing), y), ours.weights(), retain_graph=True)

    by_hand = gradients()
    monkeypatch.setattr(fused_node, "_MEASURED_CPU", False)
    assert worst(list(gradients()), list(by_hand)) < 1e-10


def test_half_precision_is_left_to_pytorch() -> None:
    ours, _ = twins(cells=3, dtype=torch.float32)
    x, y = batch(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(ours(x, softmax_mixing(ours)), y)
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in ours.architecture())


def test_weights_can_be_replaced_for_one_call() -> None:
    ours, _ = twins(cells=3)
    x, _ = batch()
    mixing = softmax_mixing(ours)
    moved = {name: value.detach() + 0.1 for name, value in ours.named_parameters()}
    before = ours(x, mixing)
    after = torch.func.functional_call(ours, moved, (x, mixing))
    assert not torch.allclose(before, after)
    torch.testing.assert_close(ours(x, mixing), before, rtol=0, atol=0)
    ours.load_state_dict(moved)
    torch.testing.assert_close(ours(x, mixing), after)


def test_a_copy_is_a_network_of_its_own() -> None:
    ours, _ = twins(cells=3)
    x, _ = batch()
    mixing = softmax_mixing(ours)
    before = ours(x, mixing)
    copy = deepcopy(ours)
    with torch.no_grad():
        for weight in copy.weights():
            weight.mul_(1.5).add_(0.1)
    torch.testing.assert_close(ours(x, mixing), before, rtol=0, atol=0)
    assert not torch.allclose(copy(x, mixing), before)


def test_the_network_is_a_function_of_weights_mixing_and_batch_alone() -> None:
    ours, _ = twins(cells=3)
    x, _ = batch()
    mixing = softmax_mixing(ours)
    assert not list(ours.buffers())
    torch.testing.assert_close(ours.train()(x, mixing), ours.eval()(x, mixing), rtol=0, atol=0)


def test_the_network_of_the_paper_has_its_size() -> None:
    net = SearchNetwork(InputSpec(3, 32, 32, 10))
    assert sum(weight.numel() for weight in net.weights()) == WEIGHTS_OF_THE_PAPER
    assert {kind: tuple(alphas.shape) for kind, alphas in net.alphas.items()} == {"normal": (14, 8), "reduce": (14, 8)}
    assert not net.betas
    assert sum(p.numel() for p in Reference().parameters()) == WEIGHTS_OF_THE_PAPER


def test_weights_and_architecture_share_nothing_and_are_all() -> None:
    net = SearchNetwork(SPEC, width=4, cells=3, partial=4)
    architecture, weights = {id(p) for p in net.architecture()}, {id(p) for p in net.weights()}
    assert not architecture & weights
    assert architecture | weights == {id(p) for p in net.parameters()}
    assert {kind: tuple(betas.shape) for kind, betas in net.betas.items()} == {"normal": (14,), "reduce": (14,)}


@pytest.mark.parametrize(("nodes", "ops"), [(1, ("none", "sep_conv_5x5")), (2, ("skip_connect", "nor_conv_3x3")),
                                            (3, ("inverted_residual", "none", "max_pool_3x3"))])
def test_other_nodes_and_other_rows_of_the_catalogue(nodes: int, ops: tuple[str, ...]) -> None:
    net = SearchNetwork(InputSpec(1, 9, 7, 3), width=4, cells=3, nodes=nodes, ops=ops)
    scores = net(torch.randn(2, 1, 9, 7), softmax_mixing(net))
    assert scores.shape == (2, 3)
    scores.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.architecture())


def test_a_cell_in_which_only_none_was_chosen_is_zero() -> None:
    net = SearchNetwork(SPEC, width=4, cells=3, ops=("none", "skip_connect"))
    mixing = {
        kind: KindMixing(torch.ones(14, 2), chosen=torch.zeros(14, dtype=torch.long)) for kind in KINDS
    }
    torch.testing.assert_close(net(torch.randn(2, 3, 8, 8), mixing), net.classifier.bias.expand(2, -1))


def test_a_network_that_cannot_be_built_is_an_error() -> None:
    with pytest.raises(ConfigError, match="width 6 is not a multiple of partial 4"):
        SearchNetwork(SPEC, width=6, partial=4)
    with pytest.raises(ConfigError, match="unknown operation 'sep_conv_3x4'"):
        SearchNetwork(SPEC, width=4, cells=3, ops=("sep_conv_3x4",))
