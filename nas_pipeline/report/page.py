"""Writes reports/index.html: one self-contained file for one run, complete or not. Missing artefacts are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas_pipeline.core.files import write_text
from nas_pipeline.report import charts, derivation, provenance, search_value, view
from nas_pipeline.report.drawings import cells_of
from nas_pipeline.report.run_artifacts import RunArtifacts, read_run_artifacts

PAGE = Path("reports", "index.html")
"""Relative to the workspace."""

_TEMPLATES = Path(__file__).parent / "templates"
_SECTIONS = (("verdict", "Verdict"), ("value", "Value of the search"), ("search", "Search"), ("networks", "Networks"),
             ("mistakes", "Mistakes"), ("gates", "Gates"), ("cost", "Cost"), ("data", "Data"),
             ("provenance", "Provenance"))


@dataclass(frozen=True, slots=True)
class PageContext:
    """Values for the page that are not in the artefacts of the run."""

    strategy: str = "the search"
    tags: Mapping[str, str] = field(default_factory=dict)
    """Provenance: git.commit, git.dirty, digests."""
    compared: Sequence[search_value.ComparedSearch] = ()
    """Searches with the same data, space and budget."""


def write_page(root: Path, context: PageContext | None = None) -> Path:
    """Writes the page of the run in `root` and returns its path.

    Raises:
        OSError: The page cannot be written.
    """
    page = root / PAGE
    write_text(page, render_page(read_run_artifacts(root), context or PageContext()))
    return page


def render_page(run: RunArtifacts, context: PageContext) -> str:
    """Returns the page as text; every value from a file is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts = [view.verdict(target) for target in run.targets]
    search = view.search(run)
    searches = {"this search": run.trials, **{entry.name: entry.trials for entry in context.compared}}
    picture = charts.comparison_chart(searches)
    errors = dict(run.errors)
    if run.last_run.get("error"):
        errors.setdefault("pipeline", "{type}: {message}".format(**run.last_run["error"]))
    return environment.get_template("page.html").render(
        title=f"NAS run: {run.dataset.name}" if run.dataset else "NAS run", subtitle=_subtitle(run, search),
        headline=_headline(verdicts), sections=_SECTIONS, errors=errors, missing=run.missing, damaged=run.damaged,
        style=(_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "page.js").read_text(encoding="utf-8"),
        verdicts=verdicts, comparisons=search_value.compare_search(run, context.strategy, context.compared),
        derivations=derivation.derivations(run.derivations), guard_legend=derivation.GUARD_LEGEND,
        progress={"picture": picture, "legend": charts.legend(list(searches))} if picture else None, search=search,
        networks=view.networks(run), cells=cells_of(run.result.genotype) if run.result else "",
        learning=charts.learning_chart(run.history), latencies=view.latencies(run),
        confusions=view.confusions(run), figure=view.figure, costs=view.costs(run),
        gates=[{"name": target.name, "outcome": verdict["outcome"], "rows": target.gates}
               for target, verdict in zip(run.targets, verdicts, strict=True)],
        wall_s=run.last_run.get("wall_s"), dataset=run.dataset, validation=_validation(run),
        reproduce=provenance.reproduce(run, context.tags.get("git.commit", ""), context.tags.get("git.dirty", "")),
        origin=provenance.origin(run, context.tags),
    )


def _subtitle(run: RunArtifacts, search: dict[str, Any]) -> str:
    parts = []
    if run.dataset is not None:
        parts.append(f"{sum(run.dataset.counts.values()):,} images, {run.dataset.spec.classes} classes")
    if search["winner"]:
        parts.append(f"winner {search['winner']}")
    if run.result is not None:
        parts.append(f"{run.result.params:,} parameters, {run.result.macs / 1e6:.1f} MMACs")
    return " · ".join(parts) or "nothing has run yet"


def _headline(verdicts: Sequence[dict[str, Any]]) -> str:
    parts = []
    for state, word in (("good", "registered for"), ("open", "open for"), ("bad", "refused for")):
        names = [verdict["name"] for verdict in verdicts if verdict["state"] == state]
        if names:
            parts.append(f"{word} {', '.join(names)}")
    line = "; ".join(parts)
    return f"{line[0].upper()}{line[1:]}." if line else ""


def _validation(run: RunArtifacts) -> dict[str, Any] | None:
    if run.validation is None:
        return None
    checks = [{"success": bool(row.get("success")), "rule": row.get("rule", ""), "observed": row.get("observed", "")}
              for row in run.validation.get("expectations", [])]
    return {"success": bool(run.validation.get("success")), "engine": run.validation.get("engine", ""),
            "expectations": checks, "met": sum(check["success"] for check in checks)}
