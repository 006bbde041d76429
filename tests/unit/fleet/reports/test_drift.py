"""Drift: real differences are detected, new draws of the same distribution are not, invalid data is not counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.contract.wire import Report
from edge_agent.drift import sums
from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.export.drift_reference import FILE, drift_reference, write_drift_reference
from nas_pipeline.export.val_predictions import ValPredictions
from nas_pipeline.fleet.drift_sums import EVIDENCE, DriftSums, add_drift_sums, parse_drift_sums
from nas_pipeline.fleet.reports.drift import (
    GREEN,
    NO_REFERENCE,
    RED,
    TOO_FEW,
    DriftRules,
    ObservedRelease,
    compare,
    evaluate_drift,
    observe_release,
    observe_releases,
)
from nas_pipeline.fleet.reports.histograms import ks, ks_critical_value, psi, psi_critical_value
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList
from tests.unit.fleet.toy_releases import MODEL, TARGET, row_of

CLASSES = 4
ROW = row_of(b"a model", 3)


class Stump:
    """A small real classifier of gratings: the nearest class mean of the spectra."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        seen = self._look(images)
        self._means = np.stack([seen[labels == label].mean(axis=0) for label in range(CLASSES)])

    def logits(self, images: np.ndarray) -> np.ndarray:
        distance = ((self._look(images)[:, None] - self._means) ** 2).mean(axis=2)
        return (-distance * 40).astype(np.float32)

    def _look(self, images: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft2(images[..., 0] / 255.0 - 0.5))
        return np.log1p(power[:, :, :6]).reshape(len(images), -1)


TRAIN = Synthetic(train=1500, test=4, seed=1).load()
STUMP = Stump(TRAIN.train_images, TRAIN.train_labels)
POOL = Synthetic(train=20_000, test=4, seed=2).load()


def reported(images: np.ndarray) -> DriftSums:
    """The histograms that a device reports for images [N, H, W, C]."""
    return parse_drift_sums(json.loads(json.dumps(sums(images.transpose(0, 3, 1, 2), STUMP.logits(images)))))


def known(images: np.ndarray) -> DriftSums:
    """The reference, computed as in the export stage."""
    logits = STUMP.logits(images).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    nothing = np.zeros(0, np.int64)
    predictions = ValPredictions(
        nothing, logits.argmax(axis=1), (odds.max(axis=1) / odds.sum(axis=1)).astype(np.float32), nothing,
        np.zeros((0, 1, 1, 1), np.uint8),
    )
    return parse_drift_sums(drift_reference(predictions, images, CLASSES), least=1)


REFERENCE = known(POOL.train_images[:2000])


def red(seen: DriftSums, reference: DriftSums = REFERENCE, rules: DriftRules | None = None) -> set[str]:
    return {row.name for row in compare(reference, seen, rules or DriftRules()) if row.red}


def test_device_and_reference_histograms_are_equal() -> None:
    images = POOL.train_images[2000:4500]  # more than one batch
    assert known(images) == reported(images)


def test_the_reference_survives_a_round_trip(tmp_path: Path) -> None:
    write_drift_reference(tmp_path, REFERENCE.to_json())
    assert parse_drift_sums(json.loads((tmp_path / FILE).read_text()), least=1) == REFERENCE


def test_the_stump_is_a_classifier() -> None:
    labels = POOL.train_labels[:1000]
    assert (STUMP.logits(POOL.train_images[:1000]).argmax(axis=1) == labels).mean() > 0.7


def test_no_alarm_on_new_draws_of_the_same_distribution() -> None:
    """200 draws of 500 images and a reference of 2,000: fewer than one false alarm in 1,000 is expected."""
    draw = np.random.default_rng(7)
    logits, images = STUMP.logits(POOL.train_images), POOL.train_images.transpose(0, 3, 1, 2)
    alarms = 0
    for _ in range(200):
        chosen = draw.choice(np.arange(2000, len(images)), 500, replace=False)
        alarms += bool(red(parse_drift_sums(sums(images[chosen], logits[chosen]))))
    assert alarms == 0


def test_no_alarm_below_the_critical_value() -> None:
    """Two small draws: PSI alone exceeds 0.2 often; the critical value prevents the alarms."""
    draw = np.random.default_rng(8)
    logits, images = STUMP.logits(POOL.train_images), POOL.train_images.transpose(0, 3, 1, 2)
    above, alarms = 0, 0
    for _ in range(200):
        first, second = draw.choice(len(images), (2, 60), replace=False)
        pair = [parse_drift_sums(sums(images[part], logits[part])) for part in (first, second)]
        figures = compare(*pair, DriftRules())
        above += any(row.value > 0.2 for row in figures if row.name.startswith("psi"))
        alarms += any(row.red for row in figures)
    assert above > 20
    assert alarms <= 3


def test_a_darker_camera_is_detected() -> None:
    images = POOL.train_images[5000:5600]
    assert not red(reported(images))
    assert {"psi mean", "ks mean"} <= red(reported((images * 0.8).astype(np.uint8)))


def test_less_contrast_and_more_noise_are_detected() -> None:
    images = POOL.train_images[5000:5600]
    flat = (127 + (images.astype(np.float64) - 127) * 0.6).astype(np.uint8)
    assert {"psi std", "ks std"} <= red(reported(flat))
    noisy = Synthetic(train=600, test=4, seed=3, noise=0.4).load().train_images
    assert {"psi std", "ks std", "psi confidence", "ks confidence"} <= red(reported(noisy))


def test_another_mix_of_classes_is_detected() -> None:
    labels = POOL.train_labels[5000:9000]
    mix = np.concatenate([np.flatnonzero(labels == 0)[:500], np.flatnonzero(labels == 1)[:100]])
    assert "psi classes" in red(reported(POOL.train_images[5000:9000][mix]))


def test_a_missing_class_is_detected() -> None:
    labels = POOL.train_labels[5000:7000]
    exceeded = red(reported(POOL.train_images[5000:7000][labels != 3]))
    assert "psi classes" in exceeded
    assert not {"psi mean", "psi std"} & exceeded


@pytest.mark.parametrize("seen", [[10, 0, 0], [0, 0, 10]])
def test_an_empty_bin_gives_a_finite_distance(seen: list[int]) -> None:
    assert 0 < psi([0, 0, 10] if seen[0] else [10, 0, 0], seen) < 20
    assert psi(seen, seen) == 0
    assert psi_critical_value(seen, seen, 0.001) == 0
    assert ks([10, 0, 0], [0, 0, 10]) == 1


def test_the_figures_match_published_formulas() -> None:
    # without the half image: (0.5 - 0.6) ln(0.5 / 0.6) + (0.5 - 0.4) ln(0.5 / 0.4) = 0.04055
    assert psi([500_000, 500_000], [600_000, 400_000]) == pytest.approx(0.040547, abs=1e-5)
    assert psi_critical_value([1000] * 5, [1000] * 5, 0.05) == pytest.approx(9.4877 * 2 / 5000, rel=1e-4)
    assert ks([1, 2, 1], [2, 2, 0]) == pytest.approx(0.25)
    assert ks_critical_value([100], [100], 0.05) == pytest.approx(1.3581 * np.sqrt(2 / 100), rel=1e-4)


def test_the_critical_values_have_the_stated_level() -> None:
    draw = np.random.default_rng(9)
    share = np.array([0.4, 0.3, 0.2, 0.1])
    pairs = [(draw.multinomial(2000, share).tolist(), draw.multinomial(800, share).tolist()) for _ in range(2000)]
    over = np.mean([psi(first, second) > psi_critical_value(first, second, 0.05) for first, second in pairs])
    assert 0.03 < over < 0.07
    assert np.mean([ks(first, second) > ks_critical_value(first, second, 0.05) for first, second in pairs]) < 0.05


def report(seq: int = 1, sums: DriftSums | None = REFERENCE, **more: Any) -> Report:
    template = Report(
        schema=1, device="d1", target=TARGET, model=MODEL, seq=seq, time="2026-05-01T00:00:00Z", agent="0.1.0",
        runtime={}, counter=3, sha256=ROW.sha256, event="current", code="", detail="", about={}, probation={},
        quarantine=(), drift=sums.to_json() if sums else {},
    )
    return replace(template, **more)


def with_reference(row: ReleaseEntry, classes: int = CLASSES) -> ReleaseEntry:
    names = tuple(f"c{number}" for number in range(classes))
    return ReleaseEntry(row.release, replace(row.card, class_names=names, evidence={EVIDENCE: REFERENCE.to_json()}))


def test_only_reports_of_the_release_itself_count() -> None:
    dark = reported((POOL.train_images[5000:5600] * 0.5).astype(np.uint8))
    reports = [
        report(1), report(2), report(1, device="d2"),
        report(3, dark, event="installed"),  # images of the previous model
        report(4, dark, event="reverted"),
        report(5, dark, counter=2),
        report(6, dark, sha256="ab" * 32),
        report(7, dark, model="other--pi"),
        report(8, None),
        report(9, drift={"images": 10**6}),
    ]
    observed = observe_release(TARGET, with_reference(ROW), reports)
    assert (observed.devices, observed.invalid, observed.reference) == (2, 1, REFERENCE)
    assert observed.seen == add_drift_sums([REFERENCE] * 3)
    assert observed.largest_share == pytest.approx(2 / 3)
    assert evaluate_drift(observed, DriftRules()).state == GREEN


def test_a_model_with_other_classes_is_not_counted() -> None:
    observed = observe_release(TARGET, with_reference(ROW, classes=3), [report()])
    assert (observed.invalid, observed.seen) == (1, None)


def test_every_published_release_is_observed() -> None:
    class Published:
        def models(self) -> list[tuple[str, str]]:
            return [(TARGET, MODEL)]

        def release_list(self, target: str, model: str) -> ReleaseList:
            return (with_reference(ROW), row_of(b"the previous", 2))

    observed = observe_releases(Published(), lambda target, model: [report()])
    assert [(row.counter, row.devices) for row in observed] == [(3, 1), (2, 0)]
    assert [evaluate_drift(row, DriftRules()).state for row in observed] == [GREEN, NO_REFERENCE]


def test_nothing_is_red_below_the_minimum_number_of_images() -> None:
    dark = reported((POOL.train_images[5000:5499] * 0.2).astype(np.uint8))
    observed = ObservedRelease(TARGET, MODEL, "3", 3, REFERENCE, dark, 1, 1.0, 0)
    assert evaluate_drift(observed, DriftRules()).state == TOO_FEW
    verdict = evaluate_drift(observed, DriftRules(min_images=499))
    assert verdict.state == RED
    assert json.loads(json.dumps(verdict.to_json()))["figures"][0].keys() == {"name", "value", "bound", "red"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": 49}, "50 to"),
        ({"images": True}, "50 to"),
        ({"images": 10**12}, "50 to"),
        ({"mean": None}, "mean is not a list"),
        ({"mean": [1.5] * 16}, "mean is not a list"),
        ({"std": [-1, 2001] + [0] * 14}, "std is not a list"),
        ({"confidence": [2000]}, "confidence has 1 bins"),
        ({"classes": [1, 1, 1, 1]}, "with 4 of 2000 images"),
        ({"pixels": []}, "drift sums need"),
    ],
)
def test_invalid_sums_are_rejected(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FleetError, match=words):
        parse_drift_sums({**REFERENCE.to_json(), **change})


@pytest.mark.parametrize("rules", [{"psi": 0}, {"ks": -1}, {"alpha": 0.5}, {"min_images": 0}])
def test_invalid_rules_are_rejected(rules: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="drift: psi, ks"):
        DriftRules(**rules)
