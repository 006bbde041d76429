"""Writes reports/fleet.html: devices, versions, waves and failures, on one page without scripts or external resources.

Values from device reports may be hostile. Every value is escaped, and none is used in a style or an address.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas_pipeline.core.files import write_text
from nas_pipeline.fleet.reports.intake import Intake, ReceivedReport
from nas_pipeline.fleet.rollout.advance import current_state, rollout_rules
from nas_pipeline.fleet.rollout.state_machine import decide, tally
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import newest
from nas_pipeline.fleet.tuf.repository import Repository

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = Path(__file__).parents[2] / "report" / "templates" / "style.css"
_SHOWN = {"devices": 500, "failures": 100, "journal": 40}
"""Maximum number of rows per table."""
_Reports = dict[str, list[ReceivedReport]]
"""Target -> reports of its devices, oldest first."""


def write_page(path: Path, repository: Repository, intake: Intake) -> Path:
    """Writes the page.

    Raises:
        FleetError: The published files are not to be trusted.
        OSError: The page cannot be written.
    """
    delegated = sorted(repository.trusted().delegated)
    reports = {target: intake.reports(target) for target in delegated}
    entries = repository.journal.entries()
    write_text(path, render({
        "written": repository.clock().strftime("%Y-%m-%d %H:%M UTC"),
        "models": [_model(repository, intake, target, model) for target, model in repository.models()],
        "devices": _devices(intake, reports), "failures": _failures(reports),
        "codes": Counter(row.report.code for row in _failed(reports)).most_common(),
        "quarantine": _quarantine(reports), "journal": [_line(entry) for entry in entries[-_SHOWN["journal"]:]][::-1],
        "shown": _SHOWN,
    }))
    return path


def render(view: dict[str, Any]) -> str:
    """Renders the page; every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("fleet.html").render(**view, style=_STYLE.read_text(encoding="utf-8"))


def _model(repository: Repository, intake: Intake, target: str, model: str) -> dict[str, Any]:
    rows, rules = repository.release_list(target, model), rollout_rules(repository.settings)
    state, top, now = current_state(repository, intake, target, model), newest(rows), repository.clock()
    view: dict[str, Any] = {"model": model, "target": target, "rows": [], "decision": "", "reason": ""}
    if state is None or top is None:
        return view
    decision, counts = decide(state, rules, now), tally(state, rules, now)
    view |= {"decision": type(decision).__name__, "reason": decision.reason,
             "counts": counts, "waiting": counts.waiting}
    view["rows"] = [{
        "version": row.release.version, "counter": row.release.counter, "sha256": row.sha256[:12],
        "wave": row.release.wave.index + 1, "waves": len(row.release.wave.shares),
        "share": row.release.wave.share / 100,
    } for row in rows]
    return view


def _devices(intake: Intake, reports: _Reports) -> list[dict[str, Any]]:
    last = {row.report.device: row.report for rows in reports.values() for row in rows}
    devices = [{
        "device": device.device, "target": device.target, "counter": device.counter, "flags": device.flags,
        "seen": device.seen.strftime("%Y-%m-%d %H:%M") if device.seen else "never",
        "last": last.get(device.device),
    } for device in intake.devices()]
    return sorted(devices, key=lambda row: (not row["flags"], row["device"]))


def _failed(reports: _Reports) -> list[ReceivedReport]:
    return [row for rows in reports.values() for row in rows
            if row.report.event in {"failed", "quarantined", "reverted", "refused"}]


def _failures(reports: _Reports) -> list[dict[str, Any]]:
    newest_first = sorted(_failed(reports), key=lambda row: row.received, reverse=True)
    return [{
        "when": row.received.strftime("%Y-%m-%d %H:%M"), "device": row.report.device, "event": row.report.event,
        "code": row.report.code, "detail": row.report.detail[:200], "counter": row.report.about.get("counter", ""),
        "figures": ", ".join(f"{name} {value:.3g}" for name, value in sorted(row.report.probation.items())),
    } for row in newest_first[: _SHOWN["failures"]]]


def _quarantine(reports: _Reports) -> list[tuple[str, int]]:
    last = {row.report.device: row.report.quarantine for rows in reports.values() for row in rows}
    return Counter(digest for digests in last.values() for digest in digests).most_common()


def _line(entry: JournalEntry) -> dict[str, Any]:
    return {"when": entry.when, "kind": entry.kind, "who": entry.who, "why": entry.why, "model": entry.model,
            "version": entry.version, "counter": entry.counter, "share": entry.share / 100}
