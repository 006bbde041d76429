"""The charts of the page as SVG. A function returns None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

from nas_pipeline.core.records import LatencyReport
from nas_pipeline.report.plot import Plot
from nas_pipeline.report.progress import SearchTrial, TrialPoint, best_so_far, front, hypervolume, points, rung

_LINES = ("c1", "c2", "c3", "c4", "c5", "c6")


def front_chart(trials: Sequence[SearchTrial], winner: str) -> str | None:
    """Draws accuracy over latency of all candidates by state, and the Pareto front as a line."""
    rated = points(trials)
    if not rated:
        return None
    plot = Plot(
        "Validation accuracy over latency of every candidate", [p.latency_ms for p in rated],
        [p.accuracy for p in rated if p.complete] or [p.accuracy for p in rated],
        x_label="latency in the search, ms", y_label="validation accuracy, %", y_percent=True,
    )
    plot.line([(p.latency_ms, p.accuracy) for p in front(points(rung(trials, 0)))], "c1 front", step=True,
              title="Pareto front of the search")
    highest = max(p.trial.get("rung", 0) for p in rated)
    for point in sorted(rated, key=lambda p: (p.complete, p.trial.get("rung", 0))):
        kind, shape = _mark_style(point, winner, highest)
        plot.mark(point.latency_ms, point.accuracy, kind, candidate_label(point), shape=shape,
                  key=key_of(point.trial))
    return plot.svg()


def key_of(trial: SearchTrial) -> str:
    """Returns the key of a trial in the page."""
    return f"t{trial.get('rung', 0)}-{trial['number']}"


def candidate_label(point: TrialPoint) -> str:
    """Returns a candidate in one line."""
    ended = "complete" if point.complete else "stopped early"
    state = "finalist, longer training" if point.trial.get("rung", 0) else ended
    return (f"{point.trial['genotype_id']}: {100 * point.accuracy:.2f} %, {point.latency_ms:.3f} ms, "
            f"trial {point.trial['number']}, {state}")


def trials_chart(trials: Sequence[SearchTrial]) -> str | None:
    """Draws the accuracy of each trial by number and state, and the best feasible accuracy so far."""
    rated = points(rung(trials, 0))
    if not rated:
        return None
    plot = Plot("Validation accuracy of each trial", [p.trial["number"] for p in rated],
                [p.accuracy for p in rated if p.complete] or [p.accuracy for p in rated],
                x_label="trial", y_label="validation accuracy, %", y_percent=True)
    best, line = 0.0, []
    for point in rated:
        if point.trial.get("feasible"):
            best = max(best, point.accuracy)
        if best:
            line.append((float(point.trial["number"]), best))
    plot.line(line, "c2", step=True, title="best within all bounds so far")
    for point in rated:
        kind, shape = _mark_style(point, "", 1)
        plot.mark(point.trial["number"], point.accuracy, kind, candidate_label(point), shape=shape,
                  key=key_of(point.trial))
    return plot.svg()


def hypervolume_chart(trials: Sequence[SearchTrial]) -> str | None:
    """Draws the hypervolume over the device-seconds spent."""
    steps = hypervolume(trials)
    if not steps:
        return None
    plot = Plot("Hypervolume over device seconds", [0.0, *(x for x, _ in steps)], [0.0, 1.0],
                x_label="device-seconds spent", y_label="hypervolume, share of the box")
    plot.line([(0.0, 0.0), *steps], "c1", step=True, title="hypervolume")
    return plot.svg()


def comparison_chart(runs: dict[str, Sequence[SearchTrial]]) -> str | None:
    """Draws the best feasible accuracy over device-seconds, for the search and others of the same budget."""
    lines = {name: best_so_far(trials) for name, trials in runs.items()}
    every = [pair for steps in lines.values() for pair in steps]
    if len(lines) < 2 or not every:
        return None
    plot = Plot("Best accuracy so far", [x for x, _ in every], [y for _, y in every],
                x_label="device-seconds spent", y_label="best validation accuracy, %", y_percent=True)
    for (name, steps), colour in zip(lines.items(), _LINES, strict=False):
        plot.line(steps, colour, step=True, title=name)
    return plot.svg()


def legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (colour class, name) of the lines of `comparison_chart`, in their order."""
    return list(zip(_LINES, names, strict=False))


def learning_chart(history: dict[str, list[dict[str, float]]]) -> tuple[str, list[tuple[str, str]]] | None:
    """Draws validation accuracy over epochs of every training; returns it with the legend: (colour class, network)."""
    curves = {name: [(row["epoch"], row["val_accuracy"]) for row in rows if "val_accuracy" in row and "epoch" in row]
              for name, rows in history.items()}
    every = [pair for curve in curves.values() for pair in curve]
    if not every:
        return None
    networks = sorted({name.split("/")[0] for name in curves}, key=lambda name: (name != "winner", name))
    colours = {name: _LINES[index % len(_LINES)] for index, name in enumerate(networks)}
    # With the first epochs in range, the differences between the later ones would not be visible.
    floor = sorted(y for _, y in every)[len(every) // 5]
    plot = Plot("Learning curves", [x for x, _ in every], [y for _, y in every if y >= floor],
                x_label="epoch", y_label="validation accuracy, %", y_percent=True)
    for name, curve in curves.items():
        plot.line([pair for pair in curve if pair[1] >= floor], colours[name.split("/")[0]], title=name)
    return plot.svg(), [(colours[name], name) for name in networks]


def latency_chart(report: LatencyReport, bound_ms: float | None) -> str | None:
    """Draws the cumulative distribution of the latency with p50, p95 and the bound."""
    if len(report.quantiles_ms) != 101:
        return None
    shown = [(value, share / 100) for share, value in enumerate(report.quantiles_ms) if share < 100]
    wide = [bound_ms] if bound_ms is not None and bound_ms < 2 * report.p99_ms else []
    plot = Plot("Latency distribution", [*(x for x, _ in shown), *wide], [0.0, 1.0],
                x_label="latency of one image, ms (slowest 1 % left out)", y_label="share of runs, %", y_percent=True)
    plot.line(shown, "c1", step=True, title=f"{report.runs:,} runs")
    plot.vertical_line(report.p50_ms, "soft", "p50")
    plot.vertical_line(report.p95_ms, "c2", "p95")
    if bound_ms is not None:
        plot.vertical_line(bound_ms, "bad", "bound")
        if not wide:
            plot.note(f"bound {bound_ms:g} ms{' is outside the chart' if bound_ms > report.p99_ms else ''}")
    return plot.svg()


def _mark_style(point: TrialPoint, winner: str, highest: int) -> tuple[str, str]:
    if point.trial["genotype_id"] == winner and point.trial.get("rung", 0) == highest:
        return "best", "star"
    if point.trial.get("rung", 0):
        return "final", "diamond"
    if not point.complete:
        return "stopped", "cross"
    return ("within", "dot") if point.trial.get("feasible") else ("over", "ring")
