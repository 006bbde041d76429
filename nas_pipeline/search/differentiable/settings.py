"""The options that all differentiable searches share, as in params.yaml; the defaults are those of the papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.derivation.integer_program import NONE
from nas_pipeline.search.differentiable.guards import Guards
from nas_pipeline.search.differentiable.hypergradient import Form, Order
from nas_pipeline.search.differentiable.steps import Rates
from nas_pipeline.space.cell import FEWEST_CELLS
from nas_pipeline.space.domains import PRIMITIVES
from nas_pipeline.space.ops import OPS

COSTS = ("params", "latency_ms")
"""Costs that can be bounded or penalised."""


@dataclass(frozen=True, kw_only=True)
class Settings(Guards):
    """Settings of a search: the search network, its training, the guards, and the derived network."""

    seeds: int = 1
    """Number of searches; each derives one genotype."""
    width: int = 16
    """Channels of a state in the first cells of the search network."""
    cells: int = 8
    nodes: int = 4
    ops: Sequence[str] = PRIMITIVES
    epochs: int = 50
    batch_size: int = 64
    images: int | None = None
    """Number of training images, half for the weights and half for the alphas; None: all."""
    warmup: float = 0.0
    """Share of the epochs, at the start, in which only the weights are trained."""
    order: Order = "first"
    form: Form = "exact"
    """For second order: `exact` stores a graph of the gradient; `finite_difference` needs the memory of one step."""
    learning_rate: float = 0.025
    least_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_norm: float = 5.0
    alpha_learning_rate: float = 3e-4
    alpha_weight_decay: float = 1e-3
    eigenvalue_images: int = 16
    """Images of the alphas' half for the Hessian. The default network needs 0.25 GB per image of 32x32 pixels."""
    eval_width: int = 16
    """Channels of a state in the first cells of the derived network."""
    eval_cells: int = 8
    """Cells of the derived network."""
    bounds: Mapping[str, float] | None = None
    """Hard bounds on the derived network: params, latency_ms (of this host, summed over its operations)."""
    penalties: Mapping[str, float] | None = None
    """Weights of the expected costs, as shares of their bounds, in the loss of the alphas."""
    derivation: Literal["strength", "perturbation"] = "strength"
    """By the alphas, or by the accuracy that the removal of an operation costs."""
    tune_steps: int = 50
    """Number of weight steps between two decisions of `perturbation`."""
    perturbation_images: int = 1000
    """Images of the alphas' half that score a perturbation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        real = [op for op in self.ops if op != NONE]
        rules = {
            "seeds, epochs, nodes, width and eval_width must be at least 1":
                min(self.seeds, self.epochs, self.nodes, self.width, self.eval_width) >= 1,
            "cells must be at least 1": self.cells >= 1,
            f"eval_cells must be at least {FEWEST_CELLS}": self.eval_cells >= FEWEST_CELLS,
            "ops must contain an operation other than none, and no operation twice":
                bool(real) and len(set(self.ops)) == len(self.ops),
            "batch_size must be at least 2 (batch norm)": self.batch_size >= 2,
            "images must be at least 4": self.images is None or self.images >= 4,
            "warmup must be in [0, 1)": 0 <= self.warmup < 1,
            "order must be first or second": self.order in ("first", "second"),
            "form must be exact or finite_difference": self.form in ("exact", "finite_difference"),
            "learning rates must be positive, and least_learning_rate at most learning_rate":
                0 < self.least_learning_rate <= self.learning_rate and self.alpha_learning_rate > 0,
            "momentum must be in [0, 1)": 0 <= self.momentum < 1,
            "weight decays must not be negative": min(self.weight_decay, self.alpha_weight_decay) >= 0,
            "clip_norm must be positive": self.clip_norm > 0,
            "eigenvalue_images and perturbation_images must be at least 2":
                min(self.eigenvalue_images, self.perturbation_images) >= 2,
            "tune_steps must not be negative": self.tune_steps >= 0,
            f"bounds and penalties can name {' and '.join(COSTS)}":
                {*(self.bounds or ()), *(self.penalties or ())} <= set(COSTS),
            "bounds must be positive": min((self.bounds or {}).values(), default=1) > 0,
            "penalties must not be negative": min((self.penalties or {}).values(), default=0) >= 0,
            "derivation must be strength or perturbation": self.derivation in ("strength", "perturbation"),
            "derivation perturbation supports no bounds, and skip_cap must be null":
                self.derivation != "perturbation" or (not self.bounds and self.skip_cap is None),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"differentiable search: {rule}")
        for op in self.ops:
            OPS[op]  # raises for an unknown name, with the nearest one

    @property
    def rates(self) -> Rates:
        """Settings of both optimisers."""
        return Rates(self.learning_rate, self.least_learning_rate, self.momentum, self.weight_decay, self.clip_norm,
                     self.alpha_learning_rate, self.alpha_weight_decay)

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs that are bounded or penalised, and so need a table."""
        return tuple(name for name in COSTS if name in (self.bounds or {}) or (self.penalties or {}).get(name))
