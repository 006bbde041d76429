from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_pipeline.data.loaders import Split
from nas_pipeline.train.batches import Batches
from nas_pipeline.train.recipe import Recipe

CPU = torch.device("cpu")
PLAIN = Recipe(batch_size=8, flip=False, shift=0, cutout=0)


def batches(count: int = 20, side: int = 6, channels: int = 2) -> Batches:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return Batches(Split(images, np.arange(count, dtype=np.int64)), (0.5,) * channels, (0.25,) * channels, CPU)


def test_an_epoch_shows_each_image_at_most_once_and_leaves_out_the_short_batch() -> None:
    labels = torch.cat([label for _, label, _ in batches().epoch(0, PLAIN, seed=1)])
    assert len(labels) == 16
    assert len(labels.unique()) == 16


def test_epochs_differ_and_each_can_be_drawn_again() -> None:
    data = batches()
    recipe = Recipe(batch_size=8)
    first, again, second = (
        [(x.clone(), y.clone()) for x, y, _ in data.epoch(number, recipe, seed=1)] for number in (0, 0, 1)
    )
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], second[0][1])


def test_normalised_as_the_manifest_says_in_channels_last() -> None:
    data = batches()
    image, label, _ = next(data.epoch(0, PLAIN, seed=1))
    expected = (data.images[label].float() / 255 - 0.5) / 0.25
    assert torch.allclose(image, expected, atol=1e-6)
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_each_image_alternates_between_itself_and_its_mirror_image() -> None:
    data, recipe = batches(), Recipe(batch_size=20, flip=True, shift=0, cutout=0)
    by_label = [
        dict(zip(labels.tolist(), images, strict=True))
        for images, labels, _ in (next(data.epoch(number, recipe, seed=1)) for number in (0, 1))
    ]
    assert all(torch.equal(by_label[0][label], by_label[1][label].flip(2)) for label in range(20))
    upright = sum(torch.equal(by_label[0][i], data.normalise(data.images[i : i + 1])[0]) for i in range(20))
    assert 3 <= upright <= 17


@pytest.mark.parametrize("reach", [1, 2])
def test_a_shift_moves_pixels_and_fills_with_black(reach: int) -> None:
    data = batches()
    recipe = Recipe(batch_size=20, flip=False, shift=reach, cutout=0)
    images, labels, _ = next(data.epoch(0, recipe, seed=1))
    original = data.normalise(data.images[labels])
    padded = torch.nn.functional.pad(original, (reach,) * 4, value=-2.0)  # black, normalised: (0 - 0.5) / 0.25
    span = 2 * reach + 1
    moves = set()
    for image, whole in zip(images, padded, strict=True):
        offsets = [(row, column) for row in range(span) for column in range(span)
                   if torch.equal(image, whole[:, row : row + 6, column : column + 6])]
        assert len(offsets) == 1
        moves.add(offsets[0])
    assert len(moves) > 4


def test_cutout_blanks_a_square_in_about_half_of_the_images() -> None:
    data = batches(count=200)
    recipe = Recipe(batch_size=200, flip=False, shift=0, cutout=4)
    images, labels, _ = next(data.epoch(0, recipe, seed=1))
    blank = ((images == 0) & (data.normalise(data.images[labels]) != 0)).all(1)
    touched = blank.flatten(1).any(1)
    assert 70 <= int(touched.sum()) <= 130
    assert int(blank.flatten(1).sum(1).max()) <= 16


def test_a_pass_over_some_images_shows_only_those() -> None:
    subset = torch.tensor([1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
    shown = [index for _, _, index in batches().epoch(0, PLAIN, seed=1, subset=subset)]
    assert len(shown) == 1
    assert set(shown[0].tolist()) <= set(subset.tolist())
