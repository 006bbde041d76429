"""reports/index.html: one file for one run that asks nobody for anything. What is missing is said, never a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas_pipeline.core.files import write_text
from nas_pipeline.report import charts, derivation, provenance, view, worth
from nas_pipeline.report.drawings import cells_of
from nas_pipeline.report.found import Found, find

PAGE = Path("reports", "index.html")
"""Relative to the workspace."""

_TEMPLATES = Path(__file__).parent / "templates"
_SECTIONS = (("verdict", "Verdict"), ("worth", "Worth it?"), ("search", "Search"), ("networks", "Networks"),
             ("mistakes", "Mistakes"), ("gates", "Gates"), ("cost", "Cost"), ("data", "Data"),
             ("provenance", "Provenance"))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the artefacts of a run do not say themselves."""

    strategy: str = "the search"
    tags: Mapping[str, str] = field(default_factory=dict)
    """Provenance: git.commit, git.dirty, digests."""
    rivals: Sequence[worth.Rival] = ()
    """Other searches with the same data, space and budget."""


def write_page(root: Path, around: Surroundings | None = None) -> Path:
    """Write the page of the run in `root`, as far as it got, and return its path.

    Raises:
        OSError: The page cannot be written.
    """
    page = root / PAGE
    write_text(page, render(find(root), around or Surroundings()))
    return page


def render(found: Found, around: Surroundings) -> str:
    """The page as text; every value from a file is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    verdicts = [view.verdict(target) for target in found.targets]
    search = view.search(found)
    race = {"this search": found.trials, **{rival.name: rival.trials for rival in around.rivals}}
    picture = charts.race_chart(race)
    errors = dict(found.errors)
    if found.last_run.get("error"):
        errors.setdefault("pipeline", "{type}: {message}".format(**found.last_run["error"]))
    return environment.get_template("page.html").render(
        title=f"NAS run: {found.dataset.name}" if found.dataset else "NAS run", subtitle=_subtitle(found, search),
        headline=_headline(verdicts), sections=_SECTIONS, errors=errors, missing=found.missing, damaged=found.damaged,
        style=(_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "page.js").read_text(encoding="utf-8"),
        verdicts=verdicts, worth=worth.answers(found, around.strategy, around.rivals),
        derivations=derivation.derivations(found.derivations), guard_legend=derivation.GUARD_LEGEND,
        race={"picture": picture, "legend": charts.legend(list(race))} if picture else None, search=search,
        networks=view.networks(found), cells=cells_of(found.result.genotype) if found.result else "",
        learning=charts.learning_chart(found.history), latencies=view.latencies(found),
        confusions=view.confusions(found), figure=view.figure, costs=view.costs(found),
        gates=[{"name": target.name, "outcome": verdict["outcome"], "rows": target.gates}
               for target, verdict in zip(found.targets, verdicts, strict=True)],
        wall_s=found.last_run.get("wall_s"), dataset=found.dataset, validation=_validation(found),
        reproduce=provenance.reproduce(found, around.tags.get("git.commit", ""), around.tags.get("git.dirty", "")),
        origin=provenance.origin(found, around.tags),
    )


def _subtitle(found: Found, search: dict[str, Any]) -> str:
    parts = []
    if found.dataset is not None:
        parts.append(f"{sum(found.dataset.counts.values()):,} images, {found.dataset.spec.classes} classes")
    if search["winner"]:
        parts.append(f"winner {search['winner']}")
    if found.result is not None:
        parts.append(f"{found.result.params:,} parameters, {found.result.macs / 1e6:.1f} MMACs")
    return " · ".join(parts) or "nothing has run yet"


def _headline(verdicts: Sequence[dict[str, Any]]) -> str:
    said = []
    for state, word in (("good", "registered for"), ("open", "open for"), ("bad", "refused for")):
        names = [verdict["name"] for verdict in verdicts if verdict["state"] == state]
        if names:
            said.append(f"{word} {', '.join(names)}")
    line = "; ".join(said)
    return f"{line[0].upper()}{line[1:]}." if line else ""


def _validation(found: Found) -> dict[str, Any] | None:
    if found.validation is None:
        return None
    checks = [{"success": bool(row.get("success")), "rule": row.get("rule", ""), "observed": row.get("observed", "")}
              for row in found.validation.get("expectations", [])]
    return {"success": bool(found.validation.get("success")), "engine": found.validation.get("engine", ""),
            "expectations": checks, "met": sum(check["success"] for check in checks)}
