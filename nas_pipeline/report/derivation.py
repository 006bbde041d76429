"""The records of gradient searches inside trials: the alphas by epoch, the guards' measures and decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import NasError
from nas_pipeline.report.drawings import cells_of
from nas_pipeline.report.plot import Plot

_MAX_COLUMNS = 25
"""Largest number of epochs in a table of alphas; of more epochs, evenly spaced ones are shown."""

_GUARDS = (("entropy_normal", "c1", "entropy of the alphas, normal cell"),
           ("entropy_reduce", "c2", "entropy of the alphas, reduction cell"),
           ("skip_share", "c3", "share of skip connections in the derived cells"))

GUARD_LEGEND = [(kind, label) for _, kind, label in _GUARDS]


def derivations(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one block of the page for each search."""
    return [_block(entry) for entry in entries]


def _block(entry: dict[str, Any]) -> dict[str, Any]:
    rows = entry.get("rows", [])
    tables = rows[-1].get("alphas", {}) if rows else {}
    return {
        "number": entry["number"], "id": entry["genotype_id"], "device_s": f"{entry['device_s']:,.0f}",
        "epochs": len(rows), "decisions": entry.get("decisions", []), "cells": _cells(entry.get("genotype")),
        "guards": _guards(rows), "eigenvalue": _eigenvalue(rows),
        "alphas": [_history(rows, kind) for kind in ("normal", "reduce") if kind in tables],
    }


def _cells(genotype: Any) -> str:
    try:
        return cells_of(Genotype.from_json(genotype)) if genotype else ""
    except NasError:
        return ""


def _guards(rows: Sequence[dict[str, Any]]) -> str | None:
    if not rows:
        return None
    plot = Plot("Measures of the guards over epochs", [row["epoch"] for row in rows], [0.0, 1.0],
                x_label="epoch", y_label="share")
    for name, kind, label in _GUARDS:
        plot.line([(row["epoch"], row[name]) for row in rows if row.get(name) is not None], kind, title=label)
    return plot.svg()


def _eigenvalue(rows: Sequence[dict[str, Any]]) -> str | None:
    pairs = [(row["epoch"], row["eigenvalue"]) for row in rows if row.get("eigenvalue") is not None]
    if len(pairs) < 2:
        return None
    plot = Plot("Dominant eigenvalue of the Hessian over epochs", [x for x, _ in pairs], [0.0, *(y for _, y in pairs)],
                x_label="epoch", y_label="dominant eigenvalue")
    plot.line(pairs, "c1", title="of the validation loss with respect to the alphas")
    return plot.svg()


def _history(rows: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Returns the share of each operation after the softmax, averaged over the edges, for each epoch."""
    step = max(1, math.ceil(len(rows) / _MAX_COLUMNS))
    shown = [*rows[:-1:step], rows[-1]]
    shares = [_shares(row["alphas"][kind]) for row in shown]
    names = rows[-1].get("ops") or [f"operation {column}" for column in range(len(shares[0]))]
    top = max(max(column) for column in shares)
    return {
        "kind": "normal cell" if kind == "normal" else "reduction cell", "epochs": [row["epoch"] for row in shown],
        "ops": [{"name": name, "shares": [{"share": f"{100 * column[index]:.1f}",
                                           "strength": f"{column[index] / top:.2f}"} for column in shares]}
                for index, name in enumerate(names)],
    }


def _shares(table: Sequence[Sequence[float]]) -> list[float]:
    total = [0.0] * len(table[0])
    for edge in table:
        largest = max(edge)
        powers = [math.exp(value - largest) for value in edge]
        for index, power in enumerate(powers):
            total[index] += power / sum(powers) / len(table)
    return total
