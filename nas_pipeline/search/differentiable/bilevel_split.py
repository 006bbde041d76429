"""The training images in two disjoint halves: one fits the weights, the other the alphas. No other split is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from nas_pipeline.data.loaders import SearchData, Split
from nas_pipeline.errors import DataError
from nas_pipeline.search.differentiable.steps import Batch
from nas_pipeline.train.batches import Batches
from nas_pipeline.train.randomness import generator, seed_of
from nas_pipeline.train.recipe import Recipe


class Halves:
    """Batches of both halves; their order is a function of (seed, epoch, attempt) alone."""

    def __init__(
        self, data: SearchData, recipe: Recipe, seed: int, device: torch.device, *, images: int | None, batch_size: int
    ) -> None:
        """The weights' images are moved and mirrored as `recipe` says; the alphas' are shown as they are.

        Raises:
            DataError: There are fewer than four images.
        """
        train, manifest = data.train, data.manifest
        order = torch.randperm(len(train), generator=generator(f"{seed}/halves"))[:images].numpy()
        if len(order) < 4:
            raise DataError(f"{manifest.name} has {len(order)} training images; the search needs at least 4, "
                            "for two halves")
        middle = len(order) // 2
        self._seed = seed
        self.weights, self.alphas = (
            Batches(Split(train.images[part], train.labels[part]), manifest.mean, manifest.std, device)
            for part in (order[:middle], order[middle:])
        )
        self._moved = replace(recipe, batch_size=batch_size, cutout=0)
        self._plain = replace(self._moved, flip=False, shift=0, views=1)

    def epoch(self, number: int, attempt: int = 0) -> Iterator[tuple[Batch, Batch]]:
        """(of the weights' half, of the alphas' half), each image at most once."""
        number += 1000 * attempt
        moved = self.weights.epoch(number, self._moved, self._seed)
        plain = self.alphas.epoch(number, self._plain, seed_of(f"{self._seed}/alphas"))
        for (images, labels, _), (held_images, held_labels, _) in zip(moved, plain, strict=False):
            yield (images, labels), (held_images, held_labels)

    def held_out(self, count: int) -> Batch:
        """The first images of the alphas' half."""
        return next(self.alphas.in_order(min(count, len(self.alphas))))
