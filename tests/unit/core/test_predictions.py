"""Predictions survive a round trip byte for byte, and a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.predictions import Predictions, image_ids, read_predictions, top1, write_predictions


def some(seed: int, corrupted: bool) -> Predictions:
    rng = np.random.default_rng(seed)
    subset = np.array([0, 3, 7]) if corrupted else np.arange(0)
    return Predictions(
        np.arange(8, dtype=np.uint64), np.arange(8) % 3, rng.integers(0, 3, 8), rng.random(8).astype(np.float32),
        subset, {"blur": rng.integers(0, 3, len(subset))} if corrupted else {},
    )


@pytest.mark.parametrize("ships_first", [True, False])
def test_round_trip(tmp_path: Path, ships_first: bool) -> None:
    files = {"a" * 64: some(1, ships_first), "b" * 64: some(2, not ships_first)}
    write_predictions(tmp_path / "p.npz", files)
    read = read_predictions(tmp_path / "p.npz")
    assert set(read) == set(files)
    for sha256, item in files.items():
        assert (read[sha256].predicted == item.predicted).all()
        assert (read[sha256].confidence == item.confidence).all()
        assert (read[sha256].image_ids == item.image_ids).all()
        assert {name: list(classes) for name, classes in read[sha256].corrupted.items()} == {
            name: list(classes) for name, classes in item.corrupted.items()
        }
        if item.corrupted:
            assert read[sha256].kept_accuracy() == item.kept_accuracy()
    write_predictions(tmp_path / "again.npz", read)
    assert sha256_file(tmp_path / "again.npz") == sha256_file(tmp_path / "p.npz")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x05\x06" + 18 * b"\0"])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.npz does not contain predictions"):
        read_predictions(path)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "p.npz", image_ids=np.arange(3), labels=np.arange(3), subset=np.arange(0),
        **{"a/predicted": np.arange(2), "a/confidence": np.ones(2)},
    )
    with pytest.raises(ValueError, match="different lengths"):
        read_predictions(tmp_path / "p.npz")


def test_an_image_is_known_by_its_pixels_its_shape_and_its_class() -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 6, 6, 1), dtype=np.uint8)
    labels = np.array([0, 1, 0, 1])
    ids = image_ids(images, labels, ("a", "b"))
    assert len(set(ids.tolist())) == 4
    assert (image_ids(images[::-1], labels[::-1], ("a", "b"))[::-1] == ids).all()
    assert (image_ids(images, 1 - labels, ("b", "a")) == ids).all(), "the class's name counts, not its number"
    assert not (image_ids(images, 1 - labels, ("a", "b")) == ids).any()
    assert not (image_ids(images.reshape(4, 4, 9, 1), labels, ("a", "b")) == ids).any()


def test_confidence_is_the_softmax_of_the_top_class() -> None:
    predicted, confidence = top1(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]], dtype=np.float32))
    assert predicted.tolist() == [1, 0]
    assert confidence == pytest.approx([0.75, 1.0])


def test_kept_accuracy_is_relative_to_the_same_clean_images() -> None:
    predictions = Predictions(
        np.arange(4, dtype=np.uint64), np.zeros(4, int), np.array([0, 0, 1, 1]), np.ones(4, np.float32),
        np.array([0, 2]), {"blur": np.array([1, 1]), "noise": np.array([0, 1])},
    )
    assert predictions.kept_accuracy() == {"blur": 0.0, "noise": 1.0}
