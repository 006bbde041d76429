"""Selection by perturbation, carried out on a trained search network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from nas_pipeline.search.differentiable.bilevel_split import BilevelSplit
from nas_pipeline.search.differentiable.derivation.perturbation import (
    Masks,
    PerturbationScore,
    masked,
    perturbation_picks,
)
from nas_pipeline.search.differentiable.network.mixing import KINDS
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.steps import Batch, Bilevel
from nas_pipeline.search.differentiable.variants import soft_mixing
from nas_pipeline.train.randomness import generator


def picks_by_perturbation(
    bilevel: Bilevel, halves: BilevelSplit, settings: Settings, seed: int
) -> dict[str, tuple[tuple[int, str], ...]]:
    """The picks of `perturbation_picks`: scored on the alphas' half, the weights tuned on theirs in between.

    The weights go on from their last learning rate; the paper starts a new schedule.
    """
    net = bilevel.net
    batches = _endless(halves, settings.epochs)
    images = min(settings.perturbation_images, len(halves.alphas))

    @torch.no_grad()
    def evaluate(masks: Masks) -> PerturbationScore:
        right, loss, seen = 0.0, 0.0, 0
        mixing = masked(soft_mixing(net), masks)
        for pictures, labels in halves.alphas.in_order(settings.batch_size):
            if seen >= images:
                break
            logits = net(pictures, mixing)
            right += float((logits.argmax(1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            seen += len(labels)
        return right / seen, -loss / seen

    def tune(masks: Masks) -> None:
        for batch in itertools.islice(batches, settings.tune_steps):
            bilevel.weight_step(batch, lambda: masked(soft_mixing(net), masks))

    return perturbation_picks(KINDS, settings.ops, settings.nodes, evaluate, tune, generator(f"{seed}/perturbation"))


def _endless(halves: BilevelSplit, first: int) -> Iterator[Batch]:
    """Batches of the weights' half; their epochs are numbered on from those of the search."""
    for number in itertools.count(first):
        for batch, _ in halves.epoch(number):
            yield batch
