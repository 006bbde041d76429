"""The two steps: who moves whom, for all three searches; and second order on the real search network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.core.records import InputSpec
from nas_pipeline.search.differentiable.network.mixing import KindMixing
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork
from nas_pipeline.search.differentiable.steps import Batch, Bilevel, Rates
from nas_pipeline.search.differentiable.variants import Variant, with_skip_dropout
from nas_pipeline.train.randomness import generator, isolated

SPEC = InputSpec(channels=1, height=6, width=6, classes=3)
OPS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
VARIANTS = {
    "darts": Variant("darts"), "pc_darts": Variant("pc_darts", partial=2), "gdas": Variant("gdas"),
}


def network(variant: Variant, dtype: torch.dtype = torch.float32) -> SearchNetwork:
    with isolated("steps"):
        return SearchNetwork(SPEC, width=4, cells=3, nodes=2, ops=OPS, partial=variant.partial).to(dtype)


def batches(dtype: torch.dtype = torch.float32) -> tuple[Batch, Batch]:
    stream = generator("steps/data")
    images = torch.randn(2, 8, 1, 6, 6, generator=stream, dtype=dtype)
    labels = torch.randint(0, 3, (2, 8), generator=stream)
    return (images[0], labels[0]), (images[1], labels[1])


def mix(variant: Variant, net: SearchNetwork) -> Callable[[], dict[str, KindMixing]]:
    return lambda: variant.mix(net, 0.5, generator("steps/gumbel"))


def leaves(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for part in parts for tensor in leaves(part)]


def same(a: Any, b: Any) -> bool:
    left, right = leaves(a), leaves(b)
    return len(left) == len(right) and all(torch.equal(x, y) for x, y in zip(left, right, strict=True))


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("name", VARIANTS)
def test_each_step_leaves_to_the_bit_what_the_other_owns(name: str, order: Any) -> None:
    variant = VARIANTS[name]
    net = network(variant)
    bilevel = Bilevel(net, Rates(), order=order)
    train, val = batches()
    for _ in range(2):  # the second round meets optimisers that have a state
        before = copy.deepcopy((bilevel.weights, bilevel.weight_optimiser.state_dict(), dict(net.named_buffers())))
        alphas = copy.deepcopy(bilevel.alphas)
        assert bilevel.alpha_step(val, train, mix(variant, net)) > 0
        assert same(before, (bilevel.weights, bilevel.weight_optimiser.state_dict(), dict(net.named_buffers())))
        assert not same(alphas, bilevel.alphas)
        owned = copy.deepcopy((bilevel.alphas, bilevel.alpha_optimiser.state_dict()))
        assert bilevel.weight_step(train, mix(variant, net)) > 0
        assert same(owned, (bilevel.alphas, bilevel.alpha_optimiser.state_dict()))
        assert not same(before[0], bilevel.weights)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_the_optimisers_share_no_parameter_and_leave_none_out() -> None:
    net = network(VARIANTS["pc_darts"])
    bilevel = Bilevel(net, Rates())
    owned = [[id(p) for group in optimiser.param_groups for p in group["params"]]
             for optimiser in (bilevel.weight_optimiser, bilevel.alpha_optimiser)]
    assert not set(owned[0]) & set(owned[1])
    assert sorted(owned[0] + owned[1]) == sorted(id(p) for p in net.parameters())


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    variant = VARIANTS["darts"]
    net = network(variant)
    bilevel = Bilevel(net, Rates())
    train, val = batches()
    before = copy.deepcopy(bilevel.state())
    broken = (torch.full_like(train[0], torch.nan), train[1])
    assert not torch.isfinite(torch.tensor(bilevel.weight_step(broken, mix(variant, net))))
    assert not torch.isfinite(torch.tensor(bilevel.alpha_step(broken, train, mix(variant, net))))
    assert same(before, bilevel.state())
    assert bilevel.weight_step(val, mix(variant, net)) > 0


def test_rates_follow_half_a_cosine() -> None:
    rates = Rates()
    assert [round(rates.at(x), 6) for x in (0.0, 0.5, 1.0)] == [0.025, 0.013, 0.001]


def test_skip_dropout_preserves_the_mean() -> None:
    mixing = {"normal": KindMixing(torch.full((2000, 4), 0.25))}
    dropped = with_skip_dropout(mixing, OPS, 0.4, generator("thin"))["normal"].op_weights
    assert torch.equal(dropped[:, [0, 2, 3]], mixing["normal"].op_weights[:, [0, 2, 3]])
    assert sorted(set(dropped[:, 1].tolist())) == pytest.approx([0.0, 0.25 / 0.6])
    assert float(dropped[:, 1].mean()) == pytest.approx(0.25, rel=0.1)
    assert with_skip_dropout(mixing, OPS, 0.0, generator("thin")) is mixing


@pytest.mark.parametrize("name", ["darts", "pc_darts"])
def test_second_order_on_the_search_network_is_the_slope_of_the_unrolled_loss(name: str) -> None:
    variant, xi = VARIANTS[name], 0.1
    net = network(variant, torch.float64)
    bilevel = Bilevel(net, Rates(learning_rate=xi, clip_norm=1e9), order="second")
    train, val = batches(torch.float64)
    bilevel.weight_step(train, mix(variant, net))  # so that there is momentum

    def unrolled() -> float:
        duplicate = copy.deepcopy(net)
        copied = Bilevel(duplicate, bilevel.rates)
        copied.restore(copy.deepcopy(bilevel.state()))
        copied.weight_step(train, mix(variant, duplicate))
        with torch.no_grad():
            return float(F.cross_entropy(duplicate(val[0], mix(variant, duplicate)()), val[1]))

    gradients: list[Tensor] = []
    bilevel.alpha_optimiser.register_step_pre_hook(
        lambda *_: gradients.extend([a.grad.clone() for a in bilevel.alphas])
    )
    numeric, step = [], 1e-4
    entries = [(0, 0, 1), (0, 3, 2), (1, 4, 2), (1, 1, 1)]
    for alpha, edge, op in entries:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                bilevel.alphas[alpha][edge, op] += sign * step
            values.append(unrolled())
            with torch.no_grad():
                bilevel.alphas[alpha][edge, op] -= sign * step
        numeric.append((values[0] - values[1]) / (2 * step))
    bilevel.alpha_step(val, train, mix(variant, net))
    computed = [float(gradients[alpha][edge, op]) for alpha, edge, op in entries]
    assert computed == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_skip_dropout_applies_to_the_weight_step_alone() -> None:
    variant = VARIANTS["darts"]
    net = network(variant)
    dropout = partial(with_skip_dropout, ops=OPS, probability=0.5, stream=generator("thin"))
    assert Bilevel(net, Rates()).weight_step(batches()[0], lambda: dropout(mix(variant, net)())) > 0
