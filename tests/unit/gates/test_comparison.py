"""The paired test: counts, the level that it promises, and what few images can and cannot show."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest, multinomial

from nas_pipeline.gates.comparison import Paired, can_be_proved, loss_bound, p_worse, pair
from tests.unit.gates.toy_versions import predictions


def test_images_are_matched_by_what_they_are_not_by_where_they_lie() -> None:
    champion = predictions({0, 1, 5}, images=9)
    elsewhere = predictions({2, 3}, images=9, first_id=3)  # its images 2 and 3 are the champion's 5 and 6
    assert pair(elsewhere, champion) == Paired(6, champion_only=1, challenger_only=0)
    assert pair(predictions({4}, images=9), champion) == Paired(9, champion_only=1, challenger_only=3)
    assert pair(predictions(set(), images=9, first_id=100), champion).images == 0


def test_the_level_is_kept_at_the_margin() -> None:
    """Where the true loss is the margin, the bound holds it with probability alpha at most. Over all outcomes."""
    n, margin, alpha = 40, 0.2, 0.1
    passing = [
        (b, c) for b in range(n + 1) for c in range(n + 1 - b) if loss_bound(Paired(n, b, c), alpha) <= margin
    ]
    assert passing, "the test has to be able to pass"
    for gain in (0.0, 0.05, 0.2, 0.4):
        truth = (margin + gain, gain, 1 - margin - 2 * gain)
        level = sum(multinomial.pmf((b, c, n - b - c), n, truth) for b, c in passing)
        assert level <= alpha, gain


def test_better_is_never_worse_and_worse_is_found() -> None:
    assert loss_bound(Paired(10_000, 200, 400), 0.05) == 0.0
    assert loss_bound(Paired(10_000, 300, 300), 0.05) < 0.0055, "a tie on ten thousand images is within a point"
    assert loss_bound(Paired(10_000, 400, 250), 0.05) > 0.015
    assert loss_bound(Paired(10_000, 0, 0), 0.05) == pytest.approx(1 - 0.005 ** (1 / 10_000))


def test_more_lost_images_never_lower_the_bound() -> None:
    bounds = [loss_bound(Paired(500, lost, 20), 0.05) for lost in range(60)]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize(("paired", "provable"), [
    (Paired(10_000, 300, 300), True), (Paired(10_000, 600, 0), True), (Paired(120, 3, 3), False),
    (Paired(120, 0, 0), False), (Paired(527, 0, 0), False), (Paired(530, 0, 0), True),
])
def test_what_can_be_proved_depends_on_the_number_of_images_not_on_the_outcome(paired: Paired, provable: bool) -> None:
    assert can_be_proved(paired, 0.01, 0.05) is provable


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 1), (1, 5), (20, 9), (300, 280)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert p_worse(Paired(1000, lost, won)) == pytest.approx(expected)
    assert math.isclose(Paired(1000, lost, won).loss, (lost - won) / 1000)
