"""reports/fleet.html: devices, versions, waves, failures, on one page without scripts that asks nobody for anything.

What devices say of themselves may be hostile: every value is escaped, and no value gets into a style or an address.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas_pipeline.core.files import write_text
from nas_pipeline.fleet.reports.intake import Heard, Intake
from nas_pipeline.fleet.rollout.advance import look, rules_of
from nas_pipeline.fleet.rollout.state_machine import decide, tally
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import newest
from nas_pipeline.fleet.tuf.repository import Repository

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = Path(__file__).parents[2] / "report" / "templates" / "style.css"
_SHOWN = {"devices": 500, "failures": 100, "journal": 40}


def write_page(path: Path, repository: Repository, intake: Intake) -> Path:
    """Write the page.

    Raises:
        FleetError: What is published is not to be trusted.
        OSError: The page cannot be written.
    """
    delegated = sorted(repository.trusted().delegated)
    heard = {target: intake.heard(target) for target in delegated}
    entries = repository.journal.entries()
    write_text(path, render({
        "made": repository.clock().strftime("%Y-%m-%d %H:%M UTC"),
        "models": [_model(repository, intake, target, model) for target, model in repository.models()],
        "devices": _devices(intake, heard), "failures": _failures(heard),
        "codes": Counter(each.report.code for rows in heard.values() for each in rows
                         if each.report.event in {"failed", "quarantined", "reverted", "refused"}).most_common(),
        "quarantine": _quarantine(heard), "journal": [_line(entry) for entry in entries[-_SHOWN["journal"]:]][::-1],
        "shown": _SHOWN,
    }))
    return path


def render(view: dict[str, Any]) -> str:
    """The page as text; every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("fleet.html").render(**view, style=_STYLE.read_text(encoding="utf-8"))


def _model(repository: Repository, intake: Intake, target: str, model: str) -> dict[str, Any]:
    rows, rules = repository.release_list(target, model), rules_of(repository.settings)
    state, top, now = look(repository, intake, target, model), newest(rows), repository.clock()
    view: dict[str, Any] = {"model": model, "target": target, "rows": [], "decision": "", "reason": ""}
    if state is None or top is None:
        return view
    answer, counts = decide(state, rules, now), tally(state, rules, now)
    view |= {"decision": type(answer).__name__, "reason": answer.reason, "counts": counts, "waiting": counts.waiting}
    view["rows"] = [{
        "version": row.release.version, "counter": row.release.counter, "sha256": row.sha256[:12],
        "wave": row.release.wave.index + 1, "waves": len(row.release.wave.shares),
        "share": row.release.wave.share / 100,
    } for row in rows]
    return view


def _devices(intake: Intake, heard: dict[str, list[Heard]]) -> list[dict[str, Any]]:
    last = {each.report.device: each for rows in heard.values() for each in rows}
    found = [{
        "device": each.device, "target": each.target, "counter": each.counter, "flags": each.flags,
        "seen": each.seen.strftime("%Y-%m-%d %H:%M") if each.seen else "never",
        "last": last[each.device].report if each.device in last else None,
    } for each in intake.devices()]
    return sorted(found, key=lambda row: (not row["flags"], row["device"]))


def _failures(heard: dict[str, list[Heard]]) -> list[dict[str, Any]]:
    found = [each for rows in heard.values() for each in rows
             if each.report.event in {"failed", "quarantined", "reverted", "refused"}]
    found.sort(key=lambda each: each.received, reverse=True)
    return [{
        "when": each.received.strftime("%Y-%m-%d %H:%M"), "device": each.report.device, "event": each.report.event,
        "code": each.report.code, "detail": each.report.detail[:200], "counter": each.report.about.get("counter", ""),
        "figures": ", ".join(f"{name} {value:.3g}" for name, value in sorted(each.report.probation.items())),
    } for each in found[: _SHOWN["failures"]]]


def _quarantine(heard: dict[str, list[Heard]]) -> list[tuple[str, int]]:
    last = {each.report.device: each.report.quarantine for rows in heard.values() for each in rows}
    return Counter(digest for digests in last.values() for digest in digests).most_common()


def _line(entry: JournalEntry) -> dict[str, Any]:
    return {"when": entry.when, "kind": entry.kind, "who": entry.who, "why": entry.why, "model": entry.model,
            "version": entry.version, "counter": entry.counter, "share": entry.share / 100}
