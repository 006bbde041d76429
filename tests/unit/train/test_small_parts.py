from __future__ import annotations

import dataclasses
import json
import pickle
from itertools import pairwise

import pytest
import torch
from torch import nn

from nas_pipeline.errors import ConfigError
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.ema import Ema
from nas_pipeline.train.muon import orthogonalise, takes_orthogonal_steps
from nas_pipeline.train.optimiser import OPTIMISERS, learning_rate, make_optimiser, set_learning_rate
from nas_pipeline.train.precision import kind_of
from nas_pipeline.train.randomness import generator, isolated, seed_of
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.test_time_augmentation import AugmentedNetwork, with_test_time_augmentation


def test_the_rate_climbs_then_falls_to_zero() -> None:
    rates = [learning_rate(0.1, step / 1000, 0.2) for step in range(1000)]
    peak = max(range(1000), key=lambda step: rates[step])
    assert 199 <= peak <= 201
    assert rates[peak] == pytest.approx(0.1)
    assert rates[0] > 0
    assert rates[-1] < 1e-5
    assert all(a <= b for a, b in pairwise(rates[:200]))
    assert all(a >= b for a, b in pairwise(rates[201:]))


def test_no_warmup_starts_at_the_peak() -> None:
    assert learning_rate(0.1, 0.0, 0.0) == pytest.approx(0.1)


@pytest.mark.parametrize(("budget", "steps"), [
    (TrainBudget(epochs=2), 200), (TrainBudget(epochs=0.255), 26), (TrainBudget(epochs=0.001), 1),
    (TrainBudget(device_s=112), 1000), (TrainBudget(device_s=0.01), 1),
])
def test_budgets_become_steps(budget: TrainBudget, steps: int) -> None:
    assert budget.steps(steps_per_epoch=100, seconds_per_step=0.1) == pytest.approx(steps, abs=1)


@pytest.mark.parametrize("fields", [{}, {"epochs": 1, "device_s": 1}, {"epochs": -1}, {"device_s": 0}])
def test_a_budget_is_exactly_one_positive_number(fields: dict) -> None:
    with pytest.raises(ConfigError):
        TrainBudget(**fields)


def test_the_average_follows_parameters_and_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = Ema(net, decay=0.5)
    start = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.add_(1.0)
    net.train()(torch.randn(8, 3))
    ema.update(net, step=100)
    assert torch.allclose(ema.average[0].weight, start + 0.5)
    assert torch.allclose(ema.average[1].running_mean, net[1].running_mean / 2)
    assert int(ema.average[1].num_batches_tracked) == 1
    assert not any(p.requires_grad for p in ema.average.parameters())


def test_without_decay_the_average_is_the_network() -> None:
    net = nn.Linear(3, 2)
    ema = Ema(net, decay=0.0)
    with torch.no_grad():
        net.weight.add_(1.0)
    ema.update(net, step=5)
    assert torch.equal(ema.average.weight, net.weight)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_learns_a_line_and_decays_weights_only(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 1))
    optimiser = make_optimiser(net, Recipe(optimiser=name, learning_rate=0.02))
    decays = {
        id(p): group.get("weight_decay", 0.0) for group in optimiser.param_groups for p in group["params"]
    }
    assert set(decays) == {id(p) for p in net.parameters()}
    assert all(decays[id(p)] == 0.0 for p in net.parameters() if p.ndim == 1)
    images = torch.randn(64, 2, 4, 4)
    target = images.mean((1, 2, 3)).sign()[:, None]
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(net(images), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_rates_are_set_relative_to_each_groups_peak() -> None:
    net = nn.Linear(3, 2)
    optimiser = torch.optim.SGD([{"params": [net.weight], "lr": 0.4}, {"params": [net.bias], "lr": 0.1}])
    for factor in (0.5, 0.25):
        set_learning_rate(optimiser, factor)
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.4 * factor, 0.1 * factor])


def test_streams_come_from_names() -> None:
    assert torch.equal(torch.rand(3, generator=generator("a")), torch.rand(3, generator=generator("a")))
    assert seed_of("a") != seed_of("b")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with isolated("inside"):
        inside = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.equal(inside, expected)


def test_two_views_make_a_network_blind_to_mirroring() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    x = torch.randn(5, 1, 8, 8)
    averaged = with_test_time_augmentation(net, Recipe(views=2))
    assert torch.allclose(averaged(x), averaged(x.flip(3)), atol=1e-5)
    assert with_test_time_augmentation(net, Recipe(views=1)) is net


def test_two_views_are_the_mean_and_six_weigh_the_image_in_place_half() -> None:
    views: list[torch.Tensor] = []

    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            views.append(x)
            return x.mean((1, 2, 3))[:, None]

    x = torch.arange(32.0).view(2, 1, 4, 4)
    assert torch.allclose(AugmentedNetwork(Probe(), 2)(x), x.mean((1, 2, 3))[:, None])
    logits = AugmentedNetwork(Probe(), 6)(x)
    means = views[-1].view(6, 2, -1).mean(2)
    assert torch.allclose(logits[:, 0], means[:2].mean(0) / 2 + means[2:].mean(0) / 2)
    assert torch.equal(views[-1][4:6, 0, 1:, 1:], x[:, 0, :-1, :-1])


@pytest.mark.parametrize(("net", "kind"), [
    (nn.Conv2d(8, 8, 3, groups=8), "depthwise"), (nn.Conv2d(8, 8, 3), "dense"), (nn.Conv2d(8, 8, 3, groups=2), "dense"),
    (nn.Conv2d(1, 8, 3), "dense"),
])
def test_kind_of_network(net: nn.Module, kind: str) -> None:
    assert kind_of(nn.Sequential(net)) == kind


@pytest.mark.parametrize("wrong", [
    {"batch_size": 1}, {"learning_rate": 0}, {"warmup": 1.0}, {"label_smoothing": -0.1}, {"ema_decay": 1.0},
    {"precision": "fp16"}, {"flip": False, "views": 2}, {"views": 3}, {"low_resolution": 1.0},
    {"low_side": 4}, {"infobatch_ratio": 1.0}, {"shift": -1}, {"infobatch_until": 1.1}, {"clip_norm": 0.0},
    {"weight_decay": -1.0}, {"muon_learning_rate": 0.0},
])
def test_a_recipe_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="recipe: ") as caught:
        Recipe(**wrong)
    assert list(wrong)[-1] in str(caught.value)


@pytest.mark.parametrize("wrong", [
    {"batch_size": 2.5}, {"flip": "no"}, {"learning_rate": "fast"}, {"learning_rate": float("nan")}, {"shift": True},
    {"views": "2"}, {"optimiser": 3}, {"prune": 0.5},
], ids=str)
def test_a_recipe_with_a_value_of_another_type_or_an_unknown_key_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"^recipe: {next(iter(wrong))}: "):
        Recipe(**wrong)
    with pytest.raises(ConfigError):
        dataclasses.replace(Recipe(), **wrong) if "prune" not in wrong else Recipe(**{**Recipe().to_json(), **wrong})


def test_a_recipe_is_frozen_and_survives_json_and_pickle() -> None:
    recipe = Recipe(learning_rate=1, views=2)
    assert Recipe(**json.loads(json.dumps(recipe.to_json()))) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.shift = 3  # type: ignore[misc]  # the assignment is the test


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonal_steps_have_singular_values_near_one_and_the_same_singular_vectors(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    step = orthogonalise(matrix)
    assert step.shape == matrix.shape
    values = torch.linalg.svdvals(step)
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.5
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ step @ right.mT
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-4)


def test_only_inner_convolutions_take_orthogonal_steps() -> None:
    inner, first, depthwise = nn.Conv2d(8, 16, 3), nn.Conv2d(1, 16, 3), nn.Conv2d(8, 8, 3, groups=8)
    orthogonal = [takes_orthogonal_steps(m.weight) for m in (inner, first, depthwise, nn.Linear(4, 4))]
    assert orthogonal == [True, False, False, False]


def test_orthogonal_weights_keep_their_norm_and_momentum_survives_a_checkpoint() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(4, 16, 3)
    optimiser, restored = (make_optimiser(net, Recipe(optimiser="muon")) for _ in range(2))
    for _ in range(3):
        net.weight.grad, net.bias.grad = torch.randn_like(net.weight), torch.randn_like(net.bias)
        optimiser.step()
    assert 3.0 < float(net.weight.detach().norm()) < 5.0  # sqrt(16 output channels), and one step
    restored.load_state_dict(optimiser.state_dict())
    assert torch.equal(restored.state[net.weight]["momentum"], optimiser.state[net.weight]["momentum"])


def test_an_unknown_optimiser_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown 'sdg'; known: sgd, adamw, muon"):
        make_optimiser(nn.Linear(2, 2), Recipe(optimiser="sdg"))
