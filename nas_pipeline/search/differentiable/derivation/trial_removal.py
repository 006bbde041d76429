"""Derivation by perturbation, carried out on a trained search network."""

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
    bilevel: Bilevel, split: BilevelSplit, settings: Settings, seed: int
) -> dict[str, tuple[tuple[int, str], ...]]:
    """Derives picks with `perturbation_picks`: scores on the alphas' images, weight steps on the weights' images.

    The weight steps continue with the last learning rate; the paper starts a new schedule.

    Args:
        bilevel: The trained search network; its weights are changed.
        split: The images.
        settings: Of the search.
        seed: Names the random streams.
    """
    net = bilevel.net
    batches = _endless(split, settings.epochs)
    images = min(settings.perturbation_images, len(split.alphas))

    @torch.no_grad()
    def evaluate(masks: Masks) -> PerturbationScore:
        correct, loss, count = 0.0, 0.0, 0
        mixing = masked(soft_mixing(net), masks)
        for batch_images, labels in split.alphas.in_order(settings.batch_size):
            if count >= images:
                break
            logits = net(batch_images, mixing)
            correct += float((logits.argmax(1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            count += len(labels)
        return correct / count, -loss / count

    def tune(masks: Masks) -> None:
        for batch in itertools.islice(batches, settings.tune_steps):
            bilevel.weight_step(batch, lambda: masked(soft_mixing(net), masks))

    return perturbation_picks(KINDS, settings.ops, settings.nodes, evaluate, tune, generator(f"{seed}/perturbation"))


def _endless(split: BilevelSplit, first: int) -> Iterator[Batch]:
    """Yields batches of the weights' half without end; `first` is the number of the first epoch."""
    for number in itertools.count(first):
        for batch, _ in split.epoch(number):
            yield batch
