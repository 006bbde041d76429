"""One training run: network, recipe, seed and budget to the weights with the best validation accuracy.

On a CPU, with the number of steps and the precision fixed, the result is a function of its inputs.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.data.loaders import SearchData
from nas_pipeline.train.batches import Batches, accuracy, shrink
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.checkpoint import Checkpoint
from nas_pipeline.train.device import DeviceClock, on_device
from nas_pipeline.train.ema import Ema
from nas_pipeline.train.infobatch import InfoBatch
from nas_pipeline.train.optimiser import learning_rate, make_optimiser, set_learning_rate
from nas_pipeline.train.precision import autocast_dtype, seconds_per_step
from nas_pipeline.train.randomness import isolated
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.regularisation import (
    add_auxiliary_head,
    all_logits,
    set_drop_path,
    without_auxiliary_head,
)

logger = logging.getLogger(__name__)

EvaluationRow = dict[str, float]
"""One evaluation point: epoch (a fraction), loss, val_accuracy, lr, device_s, progress (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Outcome of a training. `state` is the averaged network at `epoch`, which has the best validation accuracy."""

    state: dict[str, torch.Tensor]
    val_accuracy: float
    epoch: float
    history: list[EvaluationRow]
    device_s: float
    ended: str
    """`complete`, `stopped` (by the caller) or `diverged` (a loss was not finite)."""


def fit(
    build: Callable[[], nn.Module],
    data: SearchData,
    recipe: Recipe,
    budget: TrainBudget,
    *,
    seed: int,
    device: torch.device,
    evaluations: int | None = None,
    checkpoint: Path | None = None,
    precision_cache: Path | None = None,
    on_evaluation: Callable[[EvaluationRow], bool] = lambda row: True,
    key: str = "",
) -> Fitted:
    """Trains a network from scratch, or resumes a training from its checkpoint.

    Args:
        build: Creates the network; called with torch's random state seeded from `seed`.
        data: Training and validation images.
        recipe: Training settings.
        budget: Length, in epochs or device seconds.
        seed: Names every random stream of the run.
        device: Where to train.
        evaluations: Number of evenly spaced evaluation points; one per epoch when None.
        checkpoint: File to resume from and to write at every evaluation point.
        precision_cache: File with the measurements for `recipe.precision == "auto"`.
        on_evaluation: Called after each evaluation point; False stops the training.
        key: Identity of the network, part of the checkpoint's key.

    Raises:
        TrainError: The checkpoint is damaged.
    """
    run_key = sha256_text(canonical_json(
        [key, recipe.to_json(), seed, data.manifest.digest, budget.epochs, budget.device_s, evaluations]
    ))
    with isolated(f"{seed}/network"):
        net = on_device(build(), device)
        add_auxiliary_head(net, recipe)
        train, val = (Batches(s, data.manifest.mean, data.manifest.std, device) for s in (data.train, data.val))
        saved = Checkpoint.load(checkpoint, run_key) if checkpoint is not None else None
        if saved is None:
            saved = _fresh(net, train, recipe, budget, precision_cache, run_key)
        run = _Run(net, train, val, recipe, seed, saved)
        return run.complete(evaluations, checkpoint, on_evaluation)


def _fresh(
    net: nn.Module, train: Batches, recipe: Recipe, budget: TrainBudget, cache: Path | None, key: str
) -> Checkpoint:
    images, labels, _ = next(train.epoch(0, recipe, seed=0))
    autocast = autocast_dtype(net, images, labels, recipe, cache)
    step_s = 0.0 if budget.device_s is None else seconds_per_step(net, images, labels, autocast, steps=6)
    cheap = recipe.low_resolution * (1 - min(1.0, (recipe.low_side / min(images.shape[2:])) ** 2))
    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    return Checkpoint(
        key=key, step=0, total_steps=budget.steps(train.steps_per_epoch(recipe), step_s, cheap),
        autocast="fp32" if autocast is None else "bf16", net=state, average=state, optimiser={},
        rng=torch.get_rng_state(), history=[], best=state, best_accuracy=-1.0, best_epoch=0.0, device_s=0.0,
    )


class _Run:
    """The state of a running training."""

    def __init__(
        self, net: nn.Module, train: Batches, val: Batches, recipe: Recipe, seed: int, saved: Checkpoint
    ) -> None:
        self.net, self.train, self.val, self.recipe, self.seed = net, train, val, recipe, seed
        self.state = saved
        self.autocast = torch.bfloat16 if saved.autocast == "bf16" else None
        net.load_state_dict(saved.net)
        self.optimiser = make_optimiser(net, recipe)
        set_learning_rate(self.optimiser, 1.0)
        if saved.optimiser:
            self.optimiser.load_state_dict(saved.optimiser)
        self.ema = Ema(net, recipe.ema_decay)
        self.ema.average.load_state_dict(saved.average)
        torch.set_rng_state(saved.rng)
        self.infobatch = InfoBatch(len(train), recipe, seed)
        if saved.losses is not None:
            self.infobatch.losses = saved.losses
        self.clock = DeviceClock(train.images.device, saved.device_s)

    def complete(
        self, evaluations: int | None, path: Path | None, on_evaluation: Callable[[EvaluationRow], bool]
    ) -> Fitted:
        state, per_epoch = self.state, self.train.steps_per_epoch(self.recipe)
        count = evaluations or max(1, math.ceil(state.total_steps / per_epoch))
        points = sorted({round(state.total_steps * (i + 1) / count) for i in range(count)} - {0})
        losses: list[float] = []
        while state.step < state.total_steps:
            for images, labels, index in self._rest_of_epoch():
                losses.append(self._step(images, labels, index))
                if not math.isfinite(losses[-1]):
                    return self._outcome("diverged")
                if state.step in points:
                    row = self._evaluate(math.fsum(losses) / len(losses))
                    losses.clear()
                    if path is not None:
                        self._capture()
                        state.save(path)
                    if not on_evaluation(row):
                        return self._outcome("stopped")
                if state.step >= state.total_steps:
                    break
        return self._outcome("complete")

    def _rest_of_epoch(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yields the batches of the current epoch that are not done; the same ones as without an interruption."""
        state = self.state
        if state.offset == 0:
            state.subset = self.infobatch.subset(state.epoch, state.step / state.total_steps)
        batches = self.train.epoch(state.epoch, self.recipe, self.seed, state.subset)
        yield from itertools.islice(batches, state.offset, None)
        state.epoch, state.offset = state.epoch + 1, 0

    def _step(self, images: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> float:
        recipe, progress = self.recipe, self.state.step / self.state.total_steps
        set_learning_rate(self.optimiser, learning_rate(1.0, progress, recipe.warmup))
        if recipe.drop_path:
            set_drop_path(self.net, recipe.drop_path * progress)
        if progress < recipe.low_resolution:
            images = shrink(images, recipe.low_side)
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            logits, auxiliary = all_logits(self.net, images)
        losses = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing, reduction="none")
        loss = losses.mean()
        if auxiliary is not None:
            auxiliary_loss = F.cross_entropy(auxiliary.float(), labels, label_smoothing=recipe.label_smoothing)
            loss = loss + recipe.auxiliary * auxiliary_loss
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), recipe.clip_norm)
        self.optimiser.step()
        self.ema.update(self.net, self.state.step)
        self.infobatch.record(index, losses)
        self.state.step, self.state.offset = self.state.step + 1, self.state.offset + 1
        return float(loss.detach())

    def _evaluate(self, loss: float) -> EvaluationRow:
        state = self.state
        # Without test-time augmentation, which costs several passes and hardly changes which epoch is best.
        score = accuracy(self.ema.average, self.val, self.autocast)
        state.device_s = self.clock.seconds()
        rate = learning_rate(self.recipe.learning_rate, (state.step - 1) / state.total_steps, self.recipe.warmup)
        row = {
            "epoch": state.step / self.train.steps_per_epoch(self.recipe), "loss": loss, "val_accuracy": score,
            "lr": rate, "device_s": state.device_s, "progress": state.step / state.total_steps,
        }
        state.history.append(row)
        if score >= state.best_accuracy:
            state.best_accuracy, state.best_epoch = score, row["epoch"]
            state.best = copy.deepcopy(self.ema.average.state_dict())
        return row

    def _capture(self) -> None:
        self.state.net = self.net.state_dict()
        self.state.average = self.ema.average.state_dict()
        self.state.optimiser = self.optimiser.state_dict()
        self.state.rng = torch.get_rng_state()
        self.state.losses = self.infobatch.losses

    def _outcome(self, ended: str) -> Fitted:
        state = self.state
        best = {name: tensor.detach().cpu() for name, tensor in without_auxiliary_head(state.best).items()}
        return Fitted(best, max(state.best_accuracy, 0.0), state.best_epoch, state.history, self.clock.seconds(), ended)
