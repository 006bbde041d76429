"""The corruptions are fixed: equal copies on every machine, mild, and in the shape of the input."""

from __future__ import annotations

import numpy as np
import pytest

from nas_pipeline.data.corruptions import CORRUPTIONS, MAX_IMAGES, ImagePixels, corrupt, corrupted_subset


@pytest.fixture(params=[(28, 28, 1), (32, 24, 3)], ids=["grey", "colour"])
def images(request: pytest.FixtureRequest) -> ImagePixels:
    height, width, channels = request.param
    y, x = np.mgrid[:height, :width]
    drawn = [128 + 100 * np.sin(x / (3 + i)) * np.cos(y / (2 + i)) for i in range(5)]
    return np.repeat(np.stack(drawn)[..., None], channels, axis=3).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_copies_are_images_that_differ_a_little(name: str, images: ImagePixels) -> None:
    before = images.copy()
    worse = corrupt(name, images)
    assert (images == before).all(), "what was given is left alone"
    assert (worse.shape, worse.dtype) == (images.shape, np.uint8)
    difference = np.abs(worse.astype(int) - images).mean()
    assert 0.5 < difference < 80
    assert (corrupt(name, images) == worse).all()


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "gaussian_noise"])
def test_an_image_is_corrupted_by_itself(name: str, images: ImagePixels) -> None:
    assert (corrupt(name, images[2:3]) == corrupt(name, images)[2:3]).all()


def test_what_each_one_does(images: ImagePixels) -> None:
    grey = np.full((1, 28, 28, 1), 100, dtype=np.uint8)
    assert (corrupt("brightness", grey) == 151).all()
    for name in ("blur", "contrast", "shift", "rotation"):
        assert (corrupt(name, grey) == 100).all(), name
    assert corrupt("contrast", images).std() == pytest.approx(0.4 * images.std(), rel=0.1)
    assert corrupt("blur", images).std() < images.std()
    dot = np.zeros((1, 28, 28, 1), dtype=np.uint8)
    dot[0, 4, 14] = 255
    assert np.argwhere(corrupt("shift", dot)[0, ..., 0]).tolist() == [[6, 16]]
    ((row, column),) = np.argwhere(corrupt("rotation", dot)[0, ..., 0])
    assert (row, column) != (4, 14)
    assert abs(row - 4) <= 1
    assert abs(column - 14) <= 3


def test_the_noise_has_the_stated_strength() -> None:
    grey = np.full((20, 28, 28, 1), 128, dtype=np.uint8)
    assert corrupt("gaussian_noise", grey).std() == pytest.approx(0.08 * 255, rel=0.02)


def test_few_images_are_all_taken_many_are_drawn() -> None:
    assert corrupted_subset(5).tolist() == [0, 1, 2, 3, 4]
    drawn = corrupted_subset(10_000)
    assert len(set(drawn.tolist())) == MAX_IMAGES
    assert drawn.max() > 9000
    assert (corrupted_subset(10_000) == drawn).all()
