"""Leaves out, pass by pass, some of the images that the network already gets right: the others are seen more often.

On Fashion-MNIST three images in four have a loss under the mean, so a pass costs half, and the same budget buys twice
as many passes. Source: Qin et al., arXiv:2303.04947 (InfoBatch), section 3; unlike there, the gradients of the easy
images that remain are not scaled up: that trained better here (docs/decisions/0008-recipe.md).
"""

from __future__ import annotations

import torch

from nas_pipeline.train.randomness import generator
from nas_pipeline.train.recipe import Recipe


class EasyImages:
    """Remembers each image's last loss and draws which images the next pass leaves out."""

    def __init__(self, count: int, recipe: Recipe, seed: int) -> None:
        """`count` images; nothing is left out before every image has been seen once."""
        self._recipe = recipe
        self._seed = seed
        self.losses = torch.full((count,), torch.inf)
        """Last known loss per image; infinite where unknown."""

    def note(self, index: torch.Tensor, losses: torch.Tensor) -> None:
        """Remember the losses [B] of the images `index` [B]."""
        self.losses[index] = losses.detach().float().cpu()

    def kept(self, number: int, progress: float) -> torch.Tensor | None:
        """Indices that pass `number` shows; None for all.

        Of the images under the mean loss a share `recipe.prune` is left out, drawn anew for each pass. The last part
        of the training, from `recipe.prune_until` on, sees every image, which removes the bias.
        """
        recipe = self._recipe
        if not recipe.prune or progress >= recipe.prune_until or not bool(self.losses.isfinite().all()):
            return None
        easy = self.losses < self.losses.mean()
        drawn = torch.rand(len(easy), generator=generator(f"{self._seed}/prune/{number}")) < recipe.prune
        return (~(easy & drawn)).nonzero().flatten()
