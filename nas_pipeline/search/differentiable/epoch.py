"""One epoch of a search: alternating steps of weights and alphas, then the measures for the guards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.search.differentiable.bilevel_split import BilevelSplit
from nas_pipeline.search.differentiable.curvature import dominant_eigenvalue
from nas_pipeline.search.differentiable.derivation.cost_model import CostModel
from nas_pipeline.search.differentiable.derivation.discretisation import genotype_from, strengths
from nas_pipeline.search.differentiable.derivation.integer_program import SKIP, skips, strongest
from nas_pipeline.search.differentiable.guards import EpochRow, beta_decay, entropy, stable_epochs, top_learnable
from nas_pipeline.search.differentiable.hypergradient import frozen
from nas_pipeline.search.differentiable.network.mixing import KINDS, KindMixing
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.steps import Bilevel
from nas_pipeline.search.differentiable.variants import Variant, soft_mixing, with_skip_dropout
from nas_pipeline.train.randomness import generator, seed_of


class Epoch:
    """Runs the epochs of a search. Its only state is that of `bilevel`."""

    def __init__(
        self, bilevel: Bilevel, split: BilevelSplit, settings: Settings, variant: Variant, models: Sequence[CostModel],
        seed: int,
    ) -> None:
        """Prepares the epochs.

        Args:
            bilevel: Search network and optimisers.
            split: Images of the weights and of the alphas.
            settings: Of the search.
            variant: DARTS, PC-DARTS or GDAS.
            models: The costs that are penalised or bounded.
            seed: Names the random streams.
        """
        self.bilevel, self.split, self.settings, self.variant = bilevel, split, settings, variant
        self._models, self._seed = models, seed
        self._device = split.weights.images.device

    def run(self, number: int, attempt: int, rows: Sequence[EpochRow]) -> EpochRow | None:
        """Runs an epoch and returns its row; None if a loss was not finite.

        Args:
            number: Number of the epoch, from 0.
            attempt: Number of epochs of this search that failed so far.
            rows: Rows of the epochs before.
        """
        settings, bilevel = self.settings, self.bilevel
        progress = number / settings.epochs
        bilevel.learning_rate = settings.rates.at(progress)
        trains_alphas = self._trains_alphas(number)
        losses: tuple[list[float], list[float]] = ([], [])
        for step, (batch, val_batch) in enumerate(self.split.epoch(number, attempt)):
            name = f"{self._seed}/{number}/{attempt}/{step}"
            if trains_alphas:
                losses[1].append(bilevel.alpha_step(
                    val_batch, batch,
                    # mypy gives a lambda with a default no type; the default keeps this step's name
                    lambda name=name: self._mix(progress, f"{name}/alphas"),  # type: ignore[misc]  # see above
                    lambda: self._regularisation(progress),
                ))
                if not math.isfinite(losses[1][-1]):
                    return None
            losses[0].append(bilevel.weight_step(
                batch,
                lambda name=name: self._mix_with_skip_dropout(  # type: ignore[misc]  # see above
                    progress, f"{name}/weights"
                ),
            ))
            if not math.isfinite(losses[0][-1]):
                return None
        measured = self._measure(number, rows)
        row: EpochRow = {"epoch": number, "loss": _mean(losses[0]),
                         "alpha_loss": _mean(losses[1]) if trains_alphas else None, **measured}
        row["stable_epochs"] = stable_epochs([*rows, row])
        if not all(math.isfinite(value) for value in row.values() if isinstance(value, float)):
            return None
        return row

    def _trains_alphas(self, number: int) -> bool:
        """Returns whether the epoch trains the alphas, that is, comes after the warm-up."""
        return number >= self.settings.warmup * self.settings.epochs

    def _measure(self, number: int, rows: Sequence[EpochRow]) -> EpochRow:
        net, settings = self.bilevel.net, self.settings
        alphas, betas = dict(net.alphas.items()), dict(net.betas.items())
        picks = strongest(strengths(alphas, betas), settings.ops, settings.nodes)
        row: EpochRow = {
            "learning_rate": self.bilevel.learning_rate,
            **{f"entropy_{kind}": entropy(alphas[kind]) for kind in KINDS},
            **{f"skips_{kind}": skips(picks, kind) for kind in KINDS},
            "skip_share": sum(op == SKIP for pairs in picks.values() for _, op in pairs) / (4 * settings.nodes),
            "genotype_id": genotype_from(picks, settings).id,
            "top_learnable": top_learnable(alphas, settings.ops),
            "beta_decay": settings.beta_decay_at(number / settings.epochs),
            "skip_dropout": settings.skip_dropout_at(number / settings.epochs),
            **({"temperature": self.variant.temperature(number / settings.epochs)}
               if self.variant.name == "gdas" else {}),
            **{model.name: model.cost(picks, settings) for model in self._models},
            "ops": list(settings.ops),
            "alphas": {kind: table.tolist() for kind, table in alphas.items()},
            "betas": {kind: table.tolist() for kind, table in betas.items()},
        }
        every = settings.eigenvalue_every
        due = every and (number + 1) % every == 0 and self._trains_alphas(number)
        row["eigenvalue"] = self._eigenvalue(number) if due else None
        return row

    def _eigenvalue(self, number: int) -> float:
        images, labels = self.split.held_out(self.settings.eigenvalue_images)
        with frozen(self.bilevel.weights):
            loss = F.cross_entropy(self.bilevel.net(images, soft_mixing(self.bilevel.net)), labels)
            return dominant_eigenvalue(loss, self.bilevel.alphas, generator(f"{self._seed}/{number}/eigenvalue"))

    def _mix(self, progress: float, name: str) -> dict[str, KindMixing]:
        stream = torch.Generator(self._device).manual_seed(seed_of(name))
        return self.variant.mix(self.bilevel.net, progress, stream)

    def _mix_with_skip_dropout(self, progress: float, name: str) -> Any:
        return with_skip_dropout(self._mix(progress, name), tuple(self.settings.ops),
                                  self.settings.skip_dropout_at(progress), generator(f"{name}/skips"))

    def _regularisation(self, progress: float) -> Tensor | float:
        settings, net = self.settings, self.bilevel.net
        total: Tensor | float = 0.0
        if weight := settings.beta_decay_at(progress):
            total = total + weight * beta_decay(list(net.alphas.values()))
        penalties = settings.penalties or {}
        for model in self._models:
            if weight := penalties.get(model.name, 0.0):
                total = total + weight * model.expected(soft_mixing(net), settings)
        return total


def _mean(values: list[float]) -> float:
    return math.fsum(values) / max(1, len(values))
