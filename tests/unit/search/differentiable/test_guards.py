"""Guards: the measures in rows, and the decisions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.guards import (
    EpochRow,
    Guards,
    apply_guards,
    beta_decay,
    entropy,
    stable_epochs,
    top_learnable,
)

OFF = Guards(stop_skips=None, stop_stable=None, eigenvalue_every=0, skip_cap=None)


def rows(skips: list[int] | None = None, eigenvalues: list[float | None] | None = None,
         tops: list[int] | None = None) -> list[EpochRow]:
    count = len(skips or eigenvalues or tops or [])
    return [
        {"epoch": epoch, "skips_normal": skips[epoch] if skips else 0, "alpha_loss": 0.5,
         "eigenvalue": eigenvalues[epoch] if eigenvalues else None, "top_learnable": [tops[epoch] if tops else epoch]}
        for epoch in range(count)
    ]


def test_nothing_stops_an_unguarded_search() -> None:
    verdict = apply_guards(rows([8] * 20, [0.1 * 2**n for n in range(20)], [1] * 20), OFF, 20)
    assert (verdict.stop, verdict.epoch, verdict.decisions) == (False, 19, ())


def test_two_skips_stop_it_but_not_in_the_first_half() -> None:
    guards = Guards(eigenvalue_every=0)
    assert not apply_guards(rows([3, 3, 3, 3, 3]), guards, 10).stop
    verdict = apply_guards(rows([0, 1, 1, 1, 1, 2]), guards, 10)
    assert (verdict.stop, verdict.epoch) == (True, 5)
    assert verdict.decisions[0] == {"epoch": 5, "guard": "skips", "action": "stop",
                                    "why": "2 skip connections in the normal cell"}


def test_a_stable_ranking_stops_it() -> None:
    guards = Guards(stop_stable=3, stop_from=0.0)
    assert not apply_guards(rows(tops=[0, 1, 1, 1]), guards, 10).stop
    assert apply_guards(rows(tops=[0, 1, 1, 1, 1]), guards, 10).stop
    assert stable_epochs(rows(tops=[1, 0, 1])) == 0
    resting = [{**row, "alpha_loss": None if row["epoch"] < 2 else 0.5} for row in rows(tops=[1, 1, 1, 1])]
    assert stable_epochs(resting) == 1


def test_a_growing_eigenvalue_rolls_back_to_the_epoch_before_it_grew() -> None:
    guards = Guards(stop_skips=None, stop_stable=None, eigenvalue_window=3)
    calm: list[float | None] = [0.3, 0.2, 0.25, 0.2, 0.25, 0.2]
    assert not apply_guards(rows(eigenvalues=calm), guards, 50).stop
    verdict = apply_guards(rows(eigenvalues=[*calm, 0.3, 0.5, 0.6]), guards, 50)
    assert (verdict.stop, verdict.epoch) == (True, 4)
    assert [decision["action"] for decision in verdict.decisions] == ["stop", "roll back to epoch 4"]
    without_roll_back = Guards(stop_skips=None, stop_stable=None, eigenvalue_window=3, roll_back=False)
    assert apply_guards(rows(eigenvalues=[*calm, 0.3, 0.5, 0.6]), without_roll_back, 50).epoch == 8


def test_epochs_without_a_measurement_are_passed_over() -> None:
    guards = Guards(stop_skips=None, stop_stable=None, eigenvalue_every=2, eigenvalue_window=1)
    assert apply_guards(rows(eigenvalues=[0.1, None, 0.5]), guards, 50).epoch == 0
    assert not apply_guards(rows(eigenvalues=[0.1, None, 0.5, None]), guards, 50).stop


def test_a_negative_curvature_is_no_alarm() -> None:
    guards = Guards(stop_skips=None, stop_stable=None, eigenvalue_window=1)
    assert not apply_guards(rows(eigenvalues=[-2.0, -0.1]), guards, 50).stop


def test_entropy_is_a_share() -> None:
    assert entropy(torch.zeros(14, 8)) == pytest.approx(1.0)
    assert entropy(torch.eye(8) * 100) == pytest.approx(0.0, abs=1e-6)


def test_the_strongest_operation_with_weights() -> None:
    ops = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3", "dil_conv_5x5")
    alphas = {"normal": torch.tensor([[9.0, 8.0, 1.0, 7.0, 2.0], [9.0, 8.0, 3.0, 7.0, 2.0]])}
    assert top_learnable(alphas, ops) == [4, 2]
    assert top_learnable(alphas, ("none", "skip_connect")) == []


def test_beta_decay_pulls_down_by_the_softmax() -> None:
    alphas = torch.randn(14, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (slope,) = torch.autograd.grad(beta_decay([alphas]), alphas)
    assert torch.allclose(slope, alphas.softmax(1) / 14)


def test_schedules_of_the_actions() -> None:
    guards = Guards(beta_decay=50, skip_dropout=0.4)
    assert [guards.beta_decay_at(x) for x in (0, 0.5, 1)] == [0, 25, 50]
    assert [guards.skip_dropout_at(x) for x in (0, 0.5, 1)] == [0.4, 0.2, 0]


@pytest.mark.parametrize("wrong", [{"beta_decay": -1.0}, {"skip_dropout": 1.0}, {"stop_skips": 0}, {"stop_from": 2.0},
                                   {"eigenvalue_window": 0}, {"eigenvalue_ratio": 0.0}, {"skip_cap": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Guards(**wrong)
