from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_agent.drift import BINS, sums
from edge_agent.wire import Report
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.drift import Bounds, DriftSums, collected, compare, ks, ks_critical, psi, reference

CLASSES = 4


def seen(images: int, seed: int, *, brighter: int = 0, skewed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, C, H, W] and logits."""
    noise = np.random.default_rng(seed)
    level = noise.normal(100 + brighter, 20, (images, 1, 1, 1))
    pixels = np.clip(noise.normal(level, 40, (images, 1, 6, 6)), 0, 255).astype(np.uint8)
    logits = noise.standard_normal((images, CLASSES)) * 2
    if skewed:
        logits[:, 0] += 3
    return pixels, logits


def told(images: int, seed: int, **how: Any) -> DriftSums:
    return DriftSums("board", "toy--board", 3, 1, sums(*seen(images, seed, **how)))


def report(counter: int, drift: dict[str, Any], *, device: str = "dev-1", family: str = "board") -> Report:
    return Report(1, device, family, "toy--board", 1, "2026-11-24T00:00:00Z", "0.1.0", {}, counter, "", "current", "",
                  "", {}, {}, (), drift)


EXPECTED = sums(*seen(5000, 0))


def test_the_reference_is_the_same_sums_of_the_validation_split():
    pixels, logits = seen(300, 1)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    confidence = (odds.max(1) / odds.sum(1)).astype(np.float32)
    made = reference(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), logits.argmax(1), confidence, CLASSES)
    assert made == sums(pixels, logits)


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_same_images_are_no_drift(seed):
    verdict = compare(told(1000, seed), EXPECTED, Bounds())
    assert verdict.enough
    assert verdict.crossed == ()
    assert all(figure.psi < 0.1 for figure in verdict.figures.values())


def test_brighter_images_are():
    verdict = compare(told(2000, 1, brighter=60), EXPECTED, Bounds())
    assert "mean" in verdict.crossed
    assert not {"classes", "confidence"} & set(verdict.crossed)
    figure = verdict.figures["mean"]
    assert figure.psi > 0.2
    assert figure.ks is not None
    assert figure.ks_critical is not None
    assert figure.ks > figure.ks_critical


def test_another_mix_of_classes_is():
    verdict = compare(told(2000, 1, skewed=True), EXPECTED, Bounds())
    assert "classes" in verdict.crossed
    assert "mean" not in verdict.crossed
    assert verdict.figures["classes"].ks is None


def test_of_few_images_nothing_is_said():
    verdict = compare(told(999, 1, brighter=100), EXPECTED, Bounds())
    assert (verdict.enough, verdict.crossed) == (False, ())
    assert verdict.figures["mean"].crossed
    assert verdict.to_json()["bounds"]["min_images"] == 1000


def test_other_classes_are_an_error():
    with pytest.raises(FleetError, match="count 4 classes, the reference 5"):
        compare(told(60, 1), sums(np.zeros((60, 1, 2, 2), np.uint8), np.zeros((60, 5))), Bounds())


def test_the_formulas():
    assert psi([10, 20], [10, 20]) == 0
    assert psi([1, 0], [1, 0]) == 0
    assert psi([999, 0], [0, 999]) > 10
    # by hand: shares 0.3 / 0.7 against 0.5 / 0.5
    assert psi([29_999_999, 69_999_999], [50_000_000, 50_000_000]) == pytest.approx(0.1695, abs=1e-3)
    assert ks([1, 0, 1], [0, 2, 0]) == 0.5
    assert ks([0, 0], [1, 1]) == 1.0
    assert ks_critical(1000, 1000, 0.05) == pytest.approx(1.358 * (2 / 1000) ** 0.5, rel=1e-3)
    assert ks_critical(0, 5, 0.05) == float("inf")


def test_only_the_newest_release_counts_and_its_devices_add_up():
    part = told(60, 1).sums
    found = collected([
        report(1, told(500, 2).sums), report(3, part), report(2, told(70, 3).sums), report(3, part, device="dev-2"),
        report(9, part, family="other"), report(3, {}),
    ])
    assert [(each.family, each.counter, each.reports, each.sums["images"]) for each in found] == [
        ("board", 3, 2, 120), ("other", 9, 1, 60)]


@pytest.mark.parametrize("change", [
    {"images": 10**9}, {"images": True}, {"images": "60"}, {"classes": [-1, 61, 0, 0]}, {"classes": []},
    {"classes": [60.0, 0, 0, 0]}, {"mean": [60]}, {"mean": None}, {"more": 1}, {"std": [[60]] + [0] * 15},
])
def test_what_a_device_says_has_to_be_sums(change):
    assert collected([report(3, told(60, 1).sums | change)]) == []


def test_all_histograms_are_compared():
    assert set(compare(told(60, 1), EXPECTED, Bounds()).figures) == {"classes", *BINS}
