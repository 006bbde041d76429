"""InfoBatch: each epoch leaves out some of the images that the network already classifies well.

On Fashion-MNIST three images in four have a loss below the mean, so an epoch costs about half as much, and the same
budget pays for twice as many epochs.

Source: Qin et al., InfoBatch, arXiv:2303.04947, section 3. Unlike there, the gradients of the remaining well-classified
images are not scaled up: that gave a better accuracy here (docs/decisions/0008-recipe.md).
"""

from __future__ import annotations

import torch

from nas_pipeline.train.randomness import generator
from nas_pipeline.train.recipe import Recipe


class InfoBatch:
    """Records the last loss of each image and draws the images of the next epoch."""

    def __init__(self, count: int, recipe: Recipe, seed: int) -> None:
        """Starts with no loss recorded.

        Args:
            count: Number of training images.
            recipe: Its `infobatch_ratio` and `infobatch_until` are used.
            seed: Names the random streams.
        """
        self._recipe = recipe
        self._seed = seed
        self.losses = torch.full((count,), torch.inf)
        """Last loss of each image, [count]; infinite before the image was shown."""

    def record(self, index: torch.Tensor, losses: torch.Tensor) -> None:
        """Records the losses [B] of the images with the indices `index` [B]."""
        self.losses[index] = losses.detach().float().cpu()

    def subset(self, epoch: int, progress: float) -> torch.Tensor | None:
        """Returns the indices of the images that an epoch shows; None for all.

        Of the images with a loss below the mean, a share of `infobatch_ratio` is left out, drawn anew for each epoch.
        All images are shown until each has a recorded loss, and again from `infobatch_until` on, which removes the
        bias.

        Args:
            epoch: Number of the epoch.
            progress: Share of the training that is done, in [0, 1).
        """
        recipe = self._recipe
        if (
            not recipe.infobatch_ratio or progress >= recipe.infobatch_until
            or not bool(self.losses.isfinite().all())
        ):
            return None
        well_classified = self.losses < self.losses.mean()
        stream = generator(f"{self._seed}/prune/{epoch}")
        drawn = torch.rand(len(well_classified), generator=stream) < recipe.infobatch_ratio
        return (~(well_classified & drawn)).nonzero().flatten()
