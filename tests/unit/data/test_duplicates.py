import numpy as np

from nas_pipeline.data.duplicates import deduplicate, hash_images
from tests.unit.data.toy_data import noise


def test_copies_are_dropped_and_counted():
    result = deduplicate(
        train=["a", "b", "a", "t", "c", "a", "t"],
        train_labels=np.array([0, 0, 1, 0, 0, 0, 0]),
        test=["t", "u", "u"],
        test_labels=np.array([1, 0, 0]),
    )
    assert result.retained.tolist() == [0, 1, 4]
    assert result.counts == {
        "duplicates_within_train": 3,
        "duplicates_within_test": 1,
        "duplicates_train_test": 2,
        "conflicting_labels": 2,
        "dropped": 4,
    }


def test_hashes_see_every_pixel():
    images = noise(3)
    images[1] = images[0]
    images[2] = images[0]
    images[2, 5, 5, 0] ^= 1
    first, copy, different = hash_images(images)
    assert first == copy != different
