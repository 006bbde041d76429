"""Converts the artefacts of a run to the values of the templates: text, rows and images, without layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from nas_pipeline.core.records import GateResult
from nas_pipeline.errors import ExportError
from nas_pipeline.report import charts
from nas_pipeline.report.drawings import blocks_of, genes_of
from nas_pipeline.report.facts import mean_and_spread, outcome_text
from nas_pipeline.report.mistakes import Mistakes, mistakes
from nas_pipeline.report.progress import TrialPoint, front, importances, points, rung
from nas_pipeline.report.run_artifacts import RunArtifacts, TargetArtifacts

_BOUNDS = (("latency_p95_ms", "latency p95", " ms"), ("size_bytes", "size", " kB"),
           ("test_accuracy", "test accuracy", " %"), ("val_accuracy", "validation accuracy", " %"))
_SCALE = {"size_bytes": 1e-3, "test_accuracy": 100.0, "val_accuracy": 100.0}


def verdict(target: TargetArtifacts) -> dict[str, Any]:
    """Returns state (good, bad, open), headline and bounds of one target."""
    red = [gate for gate in target.gates if not gate.passed]
    registered = target.outcome.get("registered")
    if registered:
        state, headline = "good", f"Registered, version {registered}"
    elif red or target.outcome.get("refusal"):
        state, headline = "bad", "Refused"
    elif target.gates:
        state, headline = "open", "All gates green, not registered"
    else:
        state, headline = "open", "Not verified"
    return {
        "name": target.name, "state": state, "headline": headline, "outcome": outcome_text(target.outcome),
        "green": len(target.gates) - len(red), "gates": len(target.gates), "red": [_red(gate) for gate in red],
        "precision": target.bundle.precision if target.bundle else None,
        "evidence": target.latency.evidence if target.latency else None,
        "bounds": [_bound(gate, label, unit) for name, label, unit in _BOUNDS for gate in target.gates
                   if gate.gate == name],
    }


def _red(gate: GateResult) -> str:
    return f"{gate.gate}: {figure(gate.figure)}, bound {figure(gate.bound)}"


def _bound(gate: GateResult, label: str, unit: str) -> dict[str, Any]:
    """Returns one bound; `share` is the position of the figure on a bar on which the bound is at two thirds."""
    scale = _SCALE.get(gate.gate, 1.0)
    known = isinstance(gate.figure, int | float) and isinstance(gate.bound, int | float) and gate.bound
    share = min(1.0, float(gate.figure) / float(gate.bound) * 2 / 3) if known else 0.0
    sign = "≥" if gate.gate.endswith("accuracy") else "≤"
    shown = [f"{value * scale:,.4g}{unit}" if isinstance(value, int | float) else str(value)
             for value in (gate.figure, gate.bound)]
    return {"label": label, "figure": shown[0], "bound": f"{sign} {shown[1]}", "passed": gate.passed,
            "share": share if sign == "≤" else None}


def figure(value: float | str) -> str:
    """Returns the figure of a gate as text."""
    return value if isinstance(value, str) else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def networks(run: RunArtifacts) -> list[dict[str, Any]]:
    """Returns one row per trained network, the winner first."""
    if run.result is None:
        return []
    named = [(f"winner {run.result.genotype.id}", run.result), *run.baselines.items()]
    return [
        {"name": name, "winner": not index, "params": f"{item.params:,}", "macs": f"{item.macs / 1e6:.1f}",
         "seeds": len(item.seeds), "val": mean_and_spread(item.val_accuracy),
         "test": mean_and_spread(item.test_accuracy), "device_s": f"{fmean(item.device_s):,.0f}"}
        for index, (name, item) in enumerate(named)
    ]


def search(run: RunArtifacts) -> dict[str, Any]:
    """Returns charts and tables of the search."""
    winner = str((run.winner or {}).get("genotype_id") or (run.result.genotype.id if run.result else ""))
    best = front(points(rung(run.trials, 0)))
    states = [trial["state"] for trial in run.trials]
    shares, remark = importances(run.trials)
    top = shares[0][1] if shares else 1.0
    return {
        "trials": len(run.trials), "complete": states.count("complete"), "stopped": states.count("pruned"),
        "failed": states.count("fail"), "winner": winner, "why": (run.winner or {}).get("why", ""),
        "front_chart": charts.front_chart(run.trials, winner), "trials_chart": charts.trials_chart(run.trials),
        "hypervolume": charts.hypervolume_chart(run.trials),
        "importances": [(name, share, share / top if top else 0.0) for name, share in shares[:12]], "remark": remark,
        "front": [_front_row(point) for point in best], "hover": hover(run, best, winner),
        "first": next((charts.key_of(p.trial) for p in reversed(points(run.trials))
                       if p.trial["genotype_id"] == winner), ""),
    }


def _front_row(point: TrialPoint) -> dict[str, Any]:
    metrics = point.trial["metrics"]
    return {"key": charts.key_of(point.trial), "id": point.trial["genotype_id"],
            "accuracy": f"{100 * point.accuracy:.2f}",
            "latency": f"{point.latency_ms:.3f}", "params": f"{metrics.get('params', 0):,.0f}",
            "feasible": bool(point.trial.get("feasible")), "genes": genes_of(point.trial)}


def hover(run: RunArtifacts, best: Sequence[TrialPoint], winner: str) -> str:
    """Returns the details of every candidate as JSON that is safe inside a script element."""
    rated = points(run.trials)
    first = [p.trial for p in rated if p.trial["genotype_id"] == winner] + [p.trial for p in best]
    blocks = blocks_of([*first, *(p.trial for p in rated)], run.dataset.spec) if run.dataset else {}
    value = {"blocks": blocks, "trials": {
        charts.key_of(p.trial): {"id": p.trial["genotype_id"], "label": charts.candidate_label(p),
                                 "genes": genes_of(p.trial), "params": p.trial["metrics"].get("params"),
                                 "macs": p.trial["metrics"].get("macs"),
                                 "over": ", ".join(p.trial.get("violations") or {})}
        for p in rated
    }}
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def latencies(run: RunArtifacts) -> list[dict[str, Any]]:
    """Returns percentiles and distribution per target."""
    rows = []
    for target in run.targets:
        if (report := target.latency) is not None:
            bound = next((g.bound for g in target.gates if g.gate == "latency_p95_ms"), None)
            limit = float(bound) if isinstance(bound, int | float) else None
            rows.append({"name": target.name, "report": report, "chart": charts.latency_chart(report, limit)})
    return rows


def confusions(run: RunArtifacts) -> list[tuple[str, Mistakes | str]]:
    """Returns for each distinct file its errors, or why they are missing. Targets with the same file share an entry."""
    if run.dataset is None:
        return []
    by_file: dict[str, list[TargetArtifacts]] = {}
    for target in run.targets:
        digest = str(sorted(target.bundle.files.items())) if target.bundle else target.name
        by_file.setdefault(digest, []).append(target)
    shown: list[tuple[str, Mistakes | str]] = []
    for group in by_file.values():
        names, path = ", ".join(target.name for target in group), group[0].predictions
        if path is None:
            shown.append((names, "not recorded: no val_predictions.npz beside the bundle; run the export stage again"))
            continue
        try:
            shown.append((names, mistakes(path, run.dataset.class_names)))
        except ExportError as error:
            shown.append((names, str(error)))
    return shown


def costs(run: RunArtifacts) -> list[dict[str, Any]]:
    """Returns one row per stage: state, wall seconds of the last run, and device-seconds where they are counted."""
    stages: Mapping[str, Any] = run.last_run.get("stages", {})
    device = {"search": (run.search or {}).get("device_s")}
    if run.result is not None:
        device["retrain"] = sum(sum(item.device_s) for item in (run.result, *run.baselines.values()))
    longest = max((row["wall_s"] for row in stages.values()), default=0.0)
    names = list(stages) or [name for name, value in device.items() if value]
    return [
        {"name": name, "state": stages.get(name, {}).get("state", "run without the flow"),
         "wall_s": stages.get(name, {}).get("wall_s"), "device_s": device.get(name),
         "share": stages[name]["wall_s"] / longest if name in stages and longest else 0.0}
        for name in names
    ]
