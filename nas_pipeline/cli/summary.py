"""The summary of a run: networks, accuracy with spread, gates of each target with figure and bound, and cost."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from nas_pipeline.core.records import TrainResult
from nas_pipeline.report.facts import RunFacts, TargetFacts, gather, mean_and_spread


def print_summary(root: Path, console: Console | None = None) -> None:
    """Prints the summary of the run in the workspace `root`.

    Raises:
        DataError: There is no finished run.
    """
    console = console or Console(width=None if "COLUMNS" in os.environ else max(100, Console().width))
    facts = gather(root)
    console.print(_data_line(facts))
    console.print(_networks(facts))
    for target in facts.targets:
        console.print(_target_table(target))
    console.print(_cost_line(facts))
    console.print(_locations(root))


def _data_line(facts: RunFacts) -> str:
    counts = ", ".join(f"{split} {count:,}" for split, count in facts.dataset.counts.items())
    notes = facts.dataset.notes
    dropped = notes.get("dropped", 0)
    dropped_text = f"; {dropped:,} duplicate training images dropped" if dropped else ""
    return f"\n[bold]{facts.dataset.name}[/] {counts}{dropped_text}"


def _networks(facts: RunFacts) -> Table:
    table = Table(title="Networks, same recipe and budget; test accuracy of the trained network (mean ± sd over seeds)")
    for column in ("network", "params", "MMACs", "seeds", "val", "test", "device-seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    table.add_row(*_network_row(f"winner {facts.result.genotype.id} ({facts.result.genotype.space})", facts.result),
                  style="bold")
    for name, result in facts.baselines.items():
        table.add_row(*_network_row(f"{name} (hand-designed)", result))
    return table


def _network_row(name: str, result: TrainResult) -> tuple[str, ...]:
    return (name, f"{result.params:,}", f"{result.macs / 1e6:.1f}", str(len(result.seeds)),
            mean_and_spread(result.val_accuracy), mean_and_spread(result.test_accuracy),
            f"{sum(result.device_s):,.0f}")


def _target_table(target: TargetFacts) -> Table:
    metrics, green = target.bundle.metrics, sum(gate.passed for gate in target.gates)
    title = (f"{target.name}: {target.bundle.precision}, {metrics['size_bytes'] / 1000:.0f} kB, "
             f"p95 {target.latency.p95_ms:.3f} ms ({target.latency.evidence}, n={target.latency.runs:,}), "
             f"{green}/{len(target.gates)} gates green")
    table = Table(title=title, caption=_caption(target), caption_justify="left")
    for column in ("gate", "result", "figure", "bound", "reason"):
        table.add_column(column)
    for gate in target.gates:
        table.add_row(gate.gate, "[green]green[/]" if gate.passed else "[red]red[/]", _figure(gate.figure),
                      _figure(gate.bound), gate.reason)
    return table


def _caption(target: TargetFacts) -> str:
    metrics = target.bundle.metrics
    if "test_accuracy_mean" not in metrics:
        return target.outcome
    return (f"test accuracy of the {target.bundle.precision} file: {100 * metrics['test_accuracy_mean']:.2f} ± "
            f"{100 * metrics['test_accuracy_std']:.2f} % over {metrics['test_seeds']:.0f} seeds; the released file: "
            f"{100 * metrics['test_accuracy']:.2f} %. {target.outcome}")


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _cost_line(facts: RunFacts) -> str:
    search, retrain = facts.search["device_s"], sum(facts.result.device_s)
    hand = sum(sum(result.device_s) for result in facts.baselines.values())
    best = max(facts.baselines.values(), key=lambda result: fmean(result.test_accuracy), default=None)
    gain_text = ""
    if best is not None:
        gain = 100 * (fmean(facts.result.test_accuracy) - fmean(best.test_accuracy))
        gain_text = f"; against the best hand-designed network: {gain:+.2f} points of test accuracy"
    wall = facts.last_run.get("wall_s")
    return (f"Cost: search {facts.search['trials']:.0f} trials, {search:,.0f} device-seconds; "
            f"retraining {retrain:,.0f}; hand-designed networks {hand:,.0f}"
            + (f"; wall {wall / 60:.1f} min" if wall else "") + gain_text)


def _locations(root: Path) -> str:
    return (f"See also: {root / 'artifacts'} (files), {root / 'artifacts/validate/data_docs/index.html'} (data), "
            "`make ui` (MLflow and Prefect)")
