"""The catalogue of early-stopping rules: when the evaluation of a poor candidate ends before its budget is spent.

Only studies with one objective can use them; Optuna raises an error otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner

from nas_pipeline.core.catalog import Catalog

_STARTUP_TRIALS = 4
"""Trials that are never stopped early, so that later ones have something to be compared with."""


def _none() -> BasePruner | None:
    """Stops no trial."""
    return None


def _median() -> BasePruner | None:
    """Stops a trial that is worse than the median of earlier trials at the same evaluation point."""
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=0)


def _asha() -> BasePruner | None:
    """Asynchronous successive halving.

    Source: Li et al., arXiv:1810.05934.
    """
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)


_ROWS: dict[str, Callable[[], BasePruner | None]] = {"none": _none, "median": _median, "asha": _asha}

EARLY_STOPPING: Catalog[BasePruner | None] = Catalog(
    "early stopping", _ROWS, entry_points="nas_pipeline.early_stopping"
)
"""Name in params.yaml -> factory of an Optuna pruner, or of None."""
