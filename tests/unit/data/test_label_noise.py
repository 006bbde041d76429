import re

import numpy as np

from nas_pipeline.data.label_docs import render_labels
from nas_pipeline.data.label_noise import doubtful


def noisy(images=600, classes=4, flipped=30, seed=0):
    """Labels of which some are wrong, and predictions of a good network: the true class, with some uncertainty."""
    stream = np.random.default_rng(seed)
    truth = np.arange(images) % classes
    logits = 6 * np.eye(classes)[truth] + stream.normal(0, 1, (images, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = truth.copy()
    wrong = stream.choice(images, flipped, replace=False)
    labels[wrong] = (truth[wrong] + 1 + stream.integers(0, classes - 1, flipped)) % classes
    return labels, probabilities, truth, set(wrong.tolist())


def test_wrong_labels_come_first():
    labels, probabilities, truth, wrong = noisy()
    doubts = doubtful(labels, probabilities)
    suspects = [doubt.row for doubt in doubts]
    assert len(set(suspects[: len(wrong)]) & wrong) >= 0.8 * len(wrong)
    assert len(set(suspects) - wrong) <= 0.05 * len(labels)
    first = doubts[0]
    assert (first.label, first.likely) == (labels[first.row], truth[first.row])
    assert first.likely_probability > first.label_probability
    assert suspects == [doubt.row for doubt in doubtful(labels, probabilities)]


def test_right_labels_are_not_doubted():
    truth = np.arange(40) % 4
    assert doubtful(truth, 0.97 * np.eye(4)[truth] + 0.0075) == []


def test_a_class_without_images_is_never_likely():
    labels = np.zeros(5, dtype=np.int64)
    assert doubtful(labels, np.array([[0.1, 0.9]] * 5)) == []
    assert doubtful(labels[:0], np.empty((0, 2))) == []


def test_the_page_is_whole_and_escapes():
    rows = [{"id": f"<b>{n}", "given": "cat", "likely": "dog", "given_probability": 0.1, "likely_probability": 0.8}
            for n in range(70)]
    images = [np.full((8, 8, channels), 7, dtype=np.uint8) for channels in (1, 3)] * 35
    page = render_labels("pets", rows, images, judged=200, splits=["val", "calib"])
    assert page.count("<img") == 60
    assert "The first 60 are shown" in page
    assert "70 of 200 images in val and calib" in page
    assert "<b>0" not in page
    assert not re.search(r'src="(?!data:image/png;base64,)|href=|url\(|<script', page)
    assert "0 of 200" in render_labels("pets", [], [], judged=200, splits=["val"])
