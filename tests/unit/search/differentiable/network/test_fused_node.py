from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.search.differentiable.network.candidates import without_running_statistics
from nas_pipeline.search.differentiable.network.chains import Unit, chain_of
from nas_pipeline.search.differentiable.network.fused_node import NodePlan, fused_node, plain_node
from nas_pipeline.space.cell_ops import DilConv, SepConv

EPS = 1e-5
CHANNELS = 4
UNITS = ((Unit(3, 1, 1, EPS), Unit(3, 1, 1, EPS)), (Unit(5, 1, 2, EPS),), (Unit(5, 2, 1, EPS), Unit(5, 1, 1, EPS)))


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def node(dtype: torch.dtype = torch.float64) -> tuple[NodePlan, Tensor, list[Tensor]]:
    """Three chains from two sources, one of them halved, and one plain term."""
    plan = NodePlan(2, (0, 0, 1), UNITS, 1)

    def channels_last(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)

    tensors = [channels_last(3, CHANNELS, 4, 5).relu(), channels_last(3, CHANNELS, 8, 10).relu(),
               channels_last(3, CHANNELS, 4, 5)]
    for chain in UNITS:
        for unit in chain:
            tensors += [torch.randn(CHANNELS, 1, unit.kernel, unit.kernel, dtype=dtype),
                        torch.randn(CHANNELS, CHANNELS, 1, 1, dtype=dtype)]
    return plan, torch.randn(4, dtype=dtype).requires_grad_(), [tensor.requires_grad_() for tensor in tensors]


def test_output_and_gradients_are_those_of_the_plain_formula() -> None:
    plan, factors, tensors = node()
    actual, desired = fused_node(plan, factors, tensors), plain_node(plan, factors, tensors)
    torch.testing.assert_close(actual, desired, rtol=1e-11, atol=1e-12)
    y_grad = torch.randn_like(desired)
    for a, b in zip(*(torch.autograd.grad(y, [factors, *tensors], y_grad) for y in (actual, desired)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("needed", [[0], [1], [3], [4], [5], [6], [7], [11], [12], [0, 3], [2, 13], [1, 6, 13]])
def test_each_gradient_is_the_same_whatever_else_is_frozen(needed: list[int]) -> None:
    plan, factors, tensors = node()
    inputs = [factors, *tensors]
    y_grad = torch.randn_like(plain_node(plan, factors, tensors))
    for number, tensor in enumerate(inputs):
        tensor.requires_grad_(number in needed)
    wanted = [inputs[number] for number in needed]
    actual = torch.autograd.grad(fused_node(plan, factors, tensors), wanted, y_grad)
    desired = torch.autograd.grad(plain_node(plan, factors, tensors), wanted, y_grad)
    for a, b in zip(actual, desired, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_source_made_of_a_plain_term_is_not_counted_twice_in_second_derivatives() -> None:
    plan, factors, tensors = node()
    state = tensors[2].detach().requires_grad_()

    def second(compute: object) -> tuple[Tensor, ...]:
        own = [F.relu(state), tensors[1], state, *tensors[3:]]
        y = compute(plan, factors, own)  # type: ignore[operator]
        (slope,) = torch.autograd.grad(y.square().sum(), state, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [state, factors, tensors[3]])

    for a, b in zip(second(fused_node), second(plain_node), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_chains_are_detected_by_their_structure() -> None:
    for module, units in ((SepConv(4, 4, 2, kernel=5, affine=False), UNITS[2]), (DilConv(4, 4, kernel=5, affine=False),
                                                                                UNITS[1])):
        assert chain_of(module) is None, "its batch norm keeps running statistics"
        without_running_statistics(module)
        chain = chain_of(module)
        assert chain is not None
        assert chain.units == units
        assert [layer.weight for layer in chain.layers] == list(module.parameters())
    for module in (SepConv(4, 4), SepConv(4, 8, affine=False), nn.Sequential(), nn.ReLU()):
        without_running_statistics(module)
        assert chain_of(module) is None
