"""The split of the training images into two disjoint halves: one trains the weights, the other the alphas."""

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


class BilevelSplit:
    """Yields batches of both halves. Their order is a function of (seed, epoch, attempt) alone.

    No other split of the data set is read.
    """

    def __init__(
        self, data: SearchData, recipe: Recipe, seed: int, device: torch.device, *, images: int | None, batch_size: int
    ) -> None:
        """Draws the halves.

        Args:
            data: Only its training images are used.
            recipe: Its `flip` and `shift` augment the images of the weights; the images of the alphas are not
                augmented.
            seed: Names the random streams.
            device: Where the images are stored.
            images: How many training images are used; all when None.
            batch_size: Images per batch, of either half.

        Raises:
            DataError: There are fewer than four images.
        """
        train, manifest = data.train, data.manifest
        order = torch.randperm(len(train), generator=generator(f"{seed}/halves"))[:images].numpy()
        if len(order) < 4:
            raise DataError(f"{manifest.name} has {len(order)} training images; a differentiable search needs at "
                            "least 4, for two halves")
        middle = len(order) // 2
        self._seed = seed
        self.weights, self.alphas = (
            Batches(Split(train.images[half], train.labels[half]), manifest.mean, manifest.std, device)
            for half in (order[:middle], order[middle:])
        )
        self._augmented = replace(recipe, batch_size=batch_size, cutout=0)
        self._plain = replace(self._augmented, flip=False, shift=0, views=1)

    def epoch(self, number: int, attempt: int = 0) -> Iterator[tuple[Batch, Batch]]:
        """Yields pairs (batch of the weights, batch of the alphas), each image at most once.

        Args:
            number: Number of the epoch, from 0.
            attempt: How often epochs of this search were repeated before. Every (number, attempt) has an order of
                its own.
        """
        of_weights = self.weights.epoch(number, self._augmented, self._seed, attempt=attempt)
        of_alphas = self.alphas.epoch(number, self._plain, seed_of(f"{self._seed}/alphas"), attempt=attempt)
        for (images, labels, _), (val_images, val_labels, _) in zip(of_weights, of_alphas, strict=False):
            yield (images, labels), (val_images, val_labels)

    def held_out(self, count: int) -> Batch:
        """The first `count` images of the alphas, or all of them where there are fewer."""
        return next(self.alphas.in_order(min(count, len(self.alphas))))
