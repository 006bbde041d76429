"""Quality measures against hand-computed values and those of scikit-learn."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.gates.quality import confusion, ece, precisions, recalls


@pytest.fixture
def recorded() -> Predictions:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    predicted = np.where(rng.random(500) < 0.7, labels, rng.integers(0, 4, 500))
    confidence = rng.uniform(0.25, 1, 500).astype(np.float32)
    return Predictions(np.arange(500, dtype=np.uint64), labels, predicted, confidence, np.arange(0), {})


def test_figures_by_class(recorded: Predictions) -> None:
    assert recalls(recorded, 4) == pytest.approx(recall_score(recorded.labels, recorded.predicted, average=None))
    assert precisions(recorded, 4) == pytest.approx(precision_score(recorded.labels, recorded.predicted, average=None))
    assert (confusion(recorded, 4) == confusion_matrix(recorded.labels, recorded.predicted)).all()


def test_a_class_without_images_has_no_recall(recorded: Predictions) -> None:
    assert np.isnan(recalls(recorded, 5)[4])
    assert np.isnan(precisions(recorded, 5)[4])


def test_calibration_error_is_the_mean_gap_of_the_bins(recorded: Predictions) -> None:
    edges = np.linspace(0, 1, 16)
    gaps = [
        abs(recorded.correct[inside].mean() - recorded.confidence[inside].mean()) * inside.mean()
        for low, high in itertools.pairwise(edges)
        if (inside := (recorded.confidence > low) & (recorded.confidence <= high)).any()
    ]
    assert ece(recorded) == pytest.approx(sum(gaps), abs=1e-6)
    sure = replace(recorded, confidence=np.ones(500, dtype=np.float32))
    assert ece(sure) == pytest.approx(1 - recorded.correct.mean())
