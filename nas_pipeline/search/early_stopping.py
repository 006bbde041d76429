"""Early stopping of hopeless trials, by name. Only single-objective studies have it (Optuna raises otherwise)."""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner

from nas_pipeline.core.catalog import Catalog

_STARTUP_TRIALS = 4


def _none() -> BasePruner | None:
    return None


def _median() -> BasePruner | None:
    """Stop what is worse than the median of earlier trials at the same point."""
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=0)


def _asha() -> BasePruner | None:
    """Asynchronous successive halving. Source: Li et al., arXiv:1810.05934."""
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)


_ROWS: dict[str, Callable[[], BasePruner | None]] = {"none": _none, "median": _median, "asha": _asha}

EARLY_STOPPING: Catalog[BasePruner | None] = Catalog("early stopping", _ROWS)
