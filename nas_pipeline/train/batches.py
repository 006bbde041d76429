"""Images in memory, batches drawn and augmented as whole tensors.

A DataLoader with PIL transforms gives 16,900 images per CPU-second, this gives over 100,000.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from nas_pipeline.data.loaders import Split
from nas_pipeline.train.randomness import generator
from nas_pipeline.train.recipe import Recipe


class Batches:
    """The images of one split on one device, uint8 until a batch is drawn."""

    def __init__(self, split: Split, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        """`split.images`: uint8 [N, H, W, C]; mean and std in units of pixel / 255."""
        self.images = torch.from_numpy(split.images).to(device).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(split.labels).to(device)
        self._mean = torch.tensor(mean, device=device).mul(255).view(1, -1, 1, 1)
        self._scale = torch.tensor(std, device=device).mul(255).reciprocal().view(1, -1, 1, 1)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, C, H, W] -> float32 in channels_last."""
        return images.float().sub_(self._mean).mul_(self._scale).contiguous(memory_format=torch.channels_last)

    def in_order(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Every image once, as it is: for accuracy."""
        for start in range(0, len(self), size):
            yield self.normalise(self.images[start : start + size]), self.labels[start : start + size]

    def epoch(
        self, number: int, recipe: Recipe, seed: int, kept: torch.Tensor | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """One shuffled, augmented pass over the images `kept` (all when None); the last, short batch is left out.

        The stream depends on (seed, number, kept) alone, so a resumed run draws what an undisturbed one draws.

        Yields:
            Images [B, C, H, W], labels [B], and the images' indices [B] (on the CPU).
        """
        stream = generator(f"{seed}/epoch/{number}")
        kept = torch.arange(len(self)) if kept is None else kept
        order = kept[torch.randperm(len(kept), generator=stream)]
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
        """Number of batches that `epoch` yields."""
        return len(self) // min(recipe.batch_size, len(self))

    def _mirrored(self, number: int, seed: int) -> torch.Tensor:
        """Which images are mirrored in this epoch: every image alternates, half start mirrored.

        Source: Jordan, arXiv:2404.00498, section 3.6 (alternating flip).
        """
        first = torch.rand(len(self), generator=generator(f"{seed}/mirror")) < 0.5
        return first if number % 2 == 0 else ~first


def shrink(images: torch.Tensor, side: int) -> torch.Tensor:
    """[N, C, H, W] averaged down to `side` pixels; smaller images stay as they are.

    Source: Touvron et al., arXiv:1906.06423, for what a change of resolution does; the order, low first, is common
    practice (progressive resizing).
    """
    height, width = (min(side, size) for size in images.shape[2:])
    if (height, width) == tuple(images.shape[2:]):
        return images
    return F.interpolate(images, size=(height, width), mode="area").contiguous(memory_format=torch.channels_last)


def _shift(images: torch.Tensor, reach: int, stream: torch.Generator) -> torch.Tensor:
    """Translate each image by its own whole number of pixels in [-reach, reach], black outside."""
    count, _, height, width = images.shape
    rows, columns = (torch.randint(0, 2 * reach + 1, (count,), generator=stream).to(images.device) for _ in range(2))
    windows = F.pad(images, (reach,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2r+1, 2r+1, H, W]
    return windows[torch.arange(count, device=images.device), :, rows, columns]


def _cutout(images: torch.Tensor, side: int, stream: torch.Generator) -> torch.Tensor:
    """Blank a square (to the mean, which is zero here) in half of the images. Source: arXiv:1708.04552."""
    count, _, height, width = images.shape
    draw = torch.rand((3, count, 1), generator=stream).to(images.device)
    in_rows = (torch.arange(height, device=images.device) - (draw[0] * height).floor()).abs() < side / 2
    in_columns = (torch.arange(width, device=images.device) - (draw[1] * width).floor()).abs() < side / 2
    hole = in_rows[:, :, None] & in_columns[:, None, :] & (draw[2] < 0.5)[:, :, None]
    return images.masked_fill(hole[:, None], 0.0)
