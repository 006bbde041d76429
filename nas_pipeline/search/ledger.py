"""The study as plain rows, one dict per trial: the only form in which results leave the search package."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

TrialRow = dict[str, Any]
"""One trial as plain data, with the keys of `row_of`."""


def row_of(trial: FrozenTrial, rung: int) -> TrialRow:
    """Returns everything that is recorded about one trial."""
    attrs = trial.user_attrs
    violations = {name: value for name, value in trial.constraints.items() if value > 0}
    return {
        "number": trial.number,
        "rung": rung,
        "state": trial.state.name.lower(),
        "genotype_id": attrs.get("genotype_id", ""),
        "genotype": attrs.get("genotype"),
        "metrics": attrs.get("metrics", {}),
        "curve": attrs.get("curve", []),
        "violations": violations,
        "feasible": trial.state == TrialState.COMPLETE and not violations,
        "device_s": attrs.get("device_s", 0.0),
        "derive_device_s": attrs.get("derive_device_s", 0.0),
        "wall_s": trial.duration.total_seconds() if trial.duration else 0.0,
        "same_as": attrs.get("same_as"),
        "failure": attrs.get("failure", ""),
        "failure_kind": attrs.get("failure_kind", ""),
    }


def rows_of(study: optuna.Study, rung: int) -> list[TrialRow]:
    """Returns all finished trials, in the order of their numbers."""
    return [row_of(trial, rung) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def derivations_of(study: optuna.Study) -> list[TrialRow]:
    """Returns the records of gradient searches: one entry per trial that was one."""
    return [
        {"number": trial.number, "genotype_id": trial.user_attrs.get("genotype_id", ""),
         "genotype": trial.user_attrs.get("genotype"), "device_s": trial.user_attrs["derive_device_s"],
         **trial.user_attrs["derivation"]}
        for trial in study.get_trials(deepcopy=False) if "derivation" in trial.user_attrs
    ]


def describe(row: TrialRow) -> str:
    """Returns one line of text about a trial."""
    metrics = row["metrics"]
    shown = [f"trial {row['number']:>3}  {row['genotype_id'] or '-':12}  {row['state']:8}"]
    if "val_accuracy" in metrics:
        shown.append(f"val {100 * metrics['val_accuracy']:.2f} %")
    if "latency_ms" in metrics:
        shown.append(f"{metrics['latency_ms']:.3f} ms")
    if "params" in metrics:
        shown.append(f"{metrics['params']:,.0f} params")
    shown.append(f"{row['wall_s']:.0f} s")
    if row["violations"]:
        shown.append("over " + ", ".join(f"{name} by {100 * value:.0f} %" for name, value in row["violations"].items()))
    if row["failure"]:
        shown.append(row["failure"])
    if row["same_as"] is not None:
        shown.append(f"same network as trial {row['same_as']}")
    return "  ".join(shown)
