"""The model card of a version: one set of facts, shown as Markdown and as one self-contained HTML page.

After Mitchell et al., "Model Cards for Model Reporting", arXiv:1810.03993: what it is, what it is for, on which data
and how well by class, its limits, where it comes from. Nothing is asked from the web, no script runs.
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
from nas_pipeline.gates.promotion import shown
from nas_pipeline.registry.statement import Statement

MARKDOWN, HTML = "model_card.md", "model_card.html"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card shows."""

    dataset: DatasetManifest
    bundle: ModelBundle
    latency: LatencyReport
    gates: Sequence[GateResult]
    """Of verify."""
    trained: TrainResult
    predictions: Predictions | None
    statement: Statement
    provenance: Mapping[str, str]
    """Tags that lead back to code, parameters and environment."""
    drawing_svg: bytes | None


def render(facts: Facts) -> dict[str, str]:
    """File name -> content, of both forms."""
    environment = Environment(
        loader=PackageLoader("nas_pipeline.registry"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=lambda name: bool(name) and "html" in str(name),
    )
    environment.filters.update(percent=_percent, cell=_cell, shown=shown)
    context = _context(facts)
    return {name: environment.get_template(f"{name}.j2").render(context) for name in (MARKDOWN, HTML)}


def _context(facts: Facts) -> dict[str, Any]:
    bundle, said, names = facts.bundle, facts.predictions, facts.dataset.class_names
    return {
        "title": f"{facts.dataset.name} for {bundle.target}", "facts": facts, "bundle": bundle,
        "dataset": facts.dataset, "latency": facts.latency, "statement": facts.statement,
        "licence_of_data": facts.statement.licence_of(facts.dataset),
        "source": _source(facts.dataset),
        "sha256": next(iter(bundle.files.values())), "metrics": bundle.metrics,
        "seeds": _seeds(facts.trained), "classes": _classes(said, names), "confusion": _confusion(said, names),
        "quality": _quality(said), "kept": said.kept_accuracy() if said is not None else {},
        "limits": _limits(facts), "provenance": {**facts.provenance, **_of_bundle(facts)},
        "drawing": base64.b64encode(facts.drawing_svg).decode() if facts.drawing_svg else "",
        "genes": bundle.genotype.genes,
    }


def _source(dataset: DatasetManifest) -> str:
    said = dataset.notes.get("source", "not stated")
    if not isinstance(said, dict):
        return str(said)
    return ", ".join(f"{key} {value}" for key, value in said.items() if isinstance(value, str | int | float))


def _seeds(trained: TrainResult) -> str:
    values = trained.test_accuracy
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{spread} % over {len(values)} seeds" if values else "not measured"


def _classes(said: Predictions | None, names: Sequence[str]) -> list[dict[str, Any]]:
    if said is None:
        return []
    recall, precision = quality.recalls(said, len(names)), quality.precisions(said, len(names))
    return [
        {"name": name, "images": int((said.labels == index).sum()), "recall": float(recall[index]),
         "precision": float(precision[index])}
        for index, name in enumerate(names)
    ]


def _confusion(said: Predictions | None, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """The five most frequent mistakes: (true class, named class, count)."""
    if said is None:
        return []
    counts = quality.confusion(said, len(names))
    wrong = [(names[i], names[j], int(counts[i, j])) for i in range(len(names)) for j in range(len(names)) if i != j]
    return [row for row in sorted(wrong, key=lambda row: -row[2])[:5] if row[2]]


def _quality(said: Predictions | None) -> dict[str, float]:
    if said is None:
        return {}
    classes = int(said.labels.max()) + 1
    found = [value for value in quality.recalls(said, classes) if not math.isnan(value)]
    return {"accuracy": float(said.correct.mean()), "balanced accuracy": statistics.fmean(found),
            "worst recall": min(found), "calibration error (ECE, 15 bins)": quality.ece(said)}


def _limits(facts: Facts) -> list[str]:
    """What the figures themselves warn of, then what people added."""
    said, lines = facts.predictions, []
    if said is None:
        lines.append("No answers on test images were recorded for this very file: figures by class are not known.")
    else:
        lines.append(f"Every figure on test images comes from {len(said.labels):,} images; none is known for others.")
        rows = [row for row in _classes(said, facts.dataset.class_names) if row["images"]]
        worst = min(rows, key=lambda row: row["recall"])
        lines.append(f"It is worst at {worst['name']}: {_percent(worst['recall'])} of {worst['images']} are found.")
        if kept := said.kept_accuracy():
            least = min(kept, key=lambda name: kept[name])
            lines.append(f"Worse pictures cost accuracy; most of all {least.replace('_', ' ')}, which leaves "
                         f"{_percent(kept[least])} of it.")
    if facts.latency.evidence != "measured":
        lines.append(f"Its latency is {facts.latency.evidence}, not measured on the target.")
    lines.append("It has no class for what it does not know: check its confidence before acting on it.")
    return [*lines, *facts.statement.limits]


def _of_bundle(facts: Facts) -> dict[str, str]:
    return {"dataset.digest": facts.dataset.digest, "bundle.digest": facts.bundle.digest,
            "genotype.id": facts.bundle.genotype.id, "seeds": ", ".join(map(str, facts.trained.seeds))}


def _percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{100 * share:.2f} %"


def _cell(text: object) -> str:
    """Text for a Markdown table: nothing in it ends a cell or opens a tag."""
    flat = " ".join(str(text).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
