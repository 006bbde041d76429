"""Renders the model card of a version from one set of facts, as Markdown and as one self-contained HTML page.

After Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993: the network, its intended use, the data,
figures by class, limits and provenance. The page loads nothing from the network and has no script.
"""

from __future__ import annotations

import base64
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import DatasetManifest, GateResult, LatencyReport, ModelBundle, TrainResult
from nas_pipeline.gates import quality
from nas_pipeline.gates.gate import format_figure
from nas_pipeline.registry.statement import Statement

MARKDOWN, HTML = "model_card.md", "model_card.html"


@dataclass(frozen=True, slots=True)
class ModelCardData:
    """Everything that a model card shows."""

    dataset: DatasetManifest
    bundle: ModelBundle
    latency: LatencyReport
    gates: Sequence[GateResult]
    """The results of verification."""
    trained: TrainResult
    predictions: Predictions | None
    statement: Statement
    provenance: Mapping[str, str]
    """Tags that identify code, parameters and environment."""
    drawing_svg: bytes | None


def render_model_card(facts: ModelCardData) -> dict[str, str]:
    """Returns file name -> content, for the Markdown file and the HTML page."""
    environment = Environment(
        loader=PackageLoader("nas_pipeline.registry"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=lambda name: bool(name) and "html" in str(name),
    )
    environment.filters.update(percent=_percent, cell=_cell, shown=format_figure)
    context = _context(facts)
    return {name: environment.get_template(f"{name}.j2").render(context) for name in (MARKDOWN, HTML)}


def _context(facts: ModelCardData) -> dict[str, Any]:
    bundle, predictions, names = facts.bundle, facts.predictions, facts.dataset.class_names
    return {
        "title": f"{facts.dataset.name} for {bundle.target}", "facts": facts, "bundle": bundle,
        "dataset": facts.dataset, "latency": facts.latency, "statement": facts.statement,
        "licence_of_data": facts.statement.licence_of(facts.dataset),
        "source": _source(facts.dataset),
        "sha256": next(iter(bundle.files.values())), "metrics": bundle.metrics,
        "seeds": _seeds(facts.trained), "classes": _classes(predictions, names),
        "confusion": _confusion(predictions, names),
        "quality": _quality(predictions),
        "retained": predictions.kept_accuracy() if predictions is not None else {},
        "limits": _limits(facts), "provenance": {**facts.provenance, **_of_bundle(facts)},
        "drawing": base64.b64encode(facts.drawing_svg).decode() if facts.drawing_svg else "",
        "genes": bundle.genotype.genes,
    }


def _source(dataset: DatasetManifest) -> str:
    source = dataset.notes.get("source", "not stated")
    if not isinstance(source, dict):
        return str(source)
    return ", ".join(f"{key} {value}" for key, value in source.items() if isinstance(value, str | int | float))


def _seeds(trained: TrainResult) -> str:
    values = trained.test_accuracy
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{spread} % over {len(values)} seeds" if values else "not measured"


def _classes(predictions: Predictions | None, names: Sequence[str]) -> list[dict[str, Any]]:
    if predictions is None:
        return []
    recall, precision = quality.recalls(predictions, len(names)), quality.precisions(predictions, len(names))
    return [
        {"name": name, "images": int((predictions.labels == index).sum()), "recall": float(recall[index]),
         "precision": float(precision[index])}
        for index, name in enumerate(names)
    ]


def _confusion(predictions: Predictions | None, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """Returns the five most frequent errors: (true class, predicted class, count)."""
    if predictions is None:
        return []
    counts = quality.confusion(predictions, len(names))
    wrong = [(names[i], names[j], int(counts[i, j])) for i in range(len(names)) for j in range(len(names)) if i != j]
    return [row for row in sorted(wrong, key=lambda row: -row[2])[:5] if row[2]]


def _quality(predictions: Predictions | None) -> dict[str, float]:
    if predictions is None:
        return {}
    classes = int(predictions.labels.max()) + 1
    values = [value for value in quality.recalls(predictions, classes) if not math.isnan(value)]
    return {"accuracy": float(predictions.correct.mean()), "balanced accuracy": statistics.fmean(values),
            "worst recall": min(values), "calibration error (ECE, 15 bins)": quality.ece(predictions)}


def _limits(facts: ModelCardData) -> list[str]:
    """Returns the limits that follow from the figures, then those of the statement."""
    predictions, lines = facts.predictions, []
    if predictions is None:
        lines.append("No predictions on test images were recorded for this file: figures by class are not known.")
    else:
        lines.append(f"Every figure on test images was computed on {len(predictions.labels):,} images.")
        rows = [row for row in _classes(predictions, facts.dataset.class_names) if row["images"]]
        worst = min(rows, key=lambda row: row["recall"])
        lines.append(f"The class with the lowest recall is {worst['name']}: "
                     f"{_percent(worst['recall'])} of {worst['images']} images.")
        if retained := predictions.kept_accuracy():
            worst_kind = min(retained, key=lambda name: retained[name])
            lines.append("Accuracy is lower on corrupted images; the largest loss is with "
                         f"{worst_kind.replace('_', ' ')}, where {_percent(retained[worst_kind])} of it remain.")
    if facts.latency.evidence != "measured":
        lines.append(f"The latency is {facts.latency.evidence}, not measured on the target.")
    lines.append("The model has no class for unknown images: check the confidence of a prediction before using it.")
    return [*lines, *facts.statement.limits]


def _of_bundle(facts: ModelCardData) -> dict[str, str]:
    return {"dataset.digest": facts.dataset.digest, "bundle.digest": facts.bundle.digest,
            "genotype.id": facts.bundle.genotype.id, "seeds": ", ".join(map(str, facts.trained.seeds))}


def _percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{100 * share:.2f} %"


def _cell(text: object) -> str:
    """Returns text that is safe in a Markdown table: it neither ends a cell nor opens a tag."""
    flat = " ".join(str(text).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
