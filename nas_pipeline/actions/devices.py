"""Devices, reports, roll-outs, and the registry as a view of the signed releases: as lines for the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nas_pipeline.actions.fleet import intake_of, open_fleet, settings_of
from nas_pipeline.actions.identity import current_user
from nas_pipeline.config.params import load_params
from nas_pipeline.errors import NasError
from nas_pipeline.fleet.reports.collect import Collected, collect, see_that_it_is_no_part_of
from nas_pipeline.fleet.reports.drop import open_drop
from nas_pipeline.fleet.reports.signed import enrolment_from
from nas_pipeline.fleet.rollout.advance import Step, advance
from nas_pipeline.fleet.rollout.page import write_page
from nas_pipeline.fleet.rollout.rebuild import rebuild
from nas_pipeline.fleet.rollout.reconcile import models, reconcile, show
from nas_pipeline.fleet.rollout.state_machine import Decision, Finished, Stop, Widen
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.fleet_tags import write_counts

PAGE = Path("reports", "fleet.html")
_MAX_ENROLMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of one model in a run of the roll-out."""

    step: Step
    registry: tuple[str, ...]
    """Changes of aliases."""
    unseen: str
    """Why the registry does not show it yet; empty: it does."""


def enrol_lines(root: Path, source: str) -> Iterator[str]:
    """Enrol the devices in a file, or on standard input: one line of `nas-agent init` each."""
    text = sys.stdin.read(_MAX_ENROLMENTS) if source == "-" else Path(source).read_text(encoding="utf-8")
    found = [enrolment_from(line) for line in text.splitlines() if line.strip()]
    with intake_of(root) as intake:
        for each in found:
            changed = intake.enrol(each)
            yield f"{each.device}: {'enrolled' if changed else 'was enrolled'} for {each.target}, key {each.keyid[:12]}"


def retire_line(root: Path, device: str) -> str:
    """Count a device in no wave any more."""
    with intake_of(root) as intake:
        intake.retire(device)
    return f"{device} is retired: nothing is taken from it, and no wave waits for it"


def devices_rows(root: Path, target: str | None, *, retired: bool) -> list[dict[str, object]]:
    """Enrolled devices, for programs."""
    with intake_of(root) as intake:
        return [{
            "device": each.device, "target": each.target, "enrolled": each.enrolled.isoformat(),
            "seen": each.seen.isoformat() if each.seen else None, "seq": each.seq, "counter": each.counter,
            "retired": each.retired, "flags": list(each.flags),
        } for each in intake.devices(target, retired=retired)]


def devices_lines(root: Path, target: str | None, *, retired: bool) -> Iterator[str]:
    """The same for people."""
    for row in devices_rows(root, target, retired=retired):
        mark = " retired" if row["retired"] else ""
        yield (f"{row['device']:24} {row['target']:16} release {row['counter']:<6} "
               f"seen {str(row['seen'] or 'never')[:16]}{mark}")
        for flag in row["flags"]:  # type: ignore[attr-defined]  # a list of texts
            yield f"  ! {flag}"


def receive(root: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Take reports over HTTP until Ctrl-C."""
    from nas_pipeline.fleet.reports.receiver import server

    with intake_of(root) as intake:
        say(f"reports are taken at http://{host}:{port}/reports; Ctrl-C ends")
        server(intake.take, host, port).run()


def collect_now(root: Path, drop: str | None) -> Collected | None:
    """Take what lies in the drop; None where there is none."""
    params = load_params(root)
    place = drop or (params.fleet.drop if params.fleet else None)
    if not place:
        return None
    place = place if "://" in place else str(root / place)
    see_that_it_is_no_part_of(place, settings_of(root, params).store)
    with intake_of(root) as intake:
        return collect(open_drop(place), intake.take)


def collect_lines(root: Path, drop: str | None, keep_days: int | None) -> Iterator[str]:
    """The same, in words; then forget what is older than `keep_days`."""
    done = collect_now(root, drop)
    if done is None:
        yield "there is no drop: set fleet.drop in params.yaml, or give --drop"
    else:
        yield f"{done.taken} reports taken, {len(done.aside)} put aside{'; there are more' if done.left else ''}"
        yield from (f"  {line}" for line in done.aside)
    if keep_days is not None:
        with intake_of(root) as intake:
            gone = intake.forget(datetime.now(UTC) - timedelta(days=keep_days))
        yield f"{gone} reports are older than {keep_days} days, and forgotten"


def on_evaluation(root: Path, *, who: str) -> list[Progress]:
    """One step of every roll-out. The signed list first; the registry shows it after, as far as it answers.

    Raises:
        NasError: Nothing can be read or signed.
    """
    repository = open_fleet(root)
    done = []
    with intake_of(root) as intake:
        for target, model in models(repository):
            step = advance(repository, intake, target, model, who=who)
            if step is not None:
                done.append(_shown(repository, root, step, who))
    return done


def told(progress: Progress) -> str:
    """One line."""
    step = progress.step
    release = step.release.release
    line = f"{step.model} release {release.counter}, wave {release.wave.index + 1}: {word(step.decision)}"
    line += f" - {step.decision.reason}" + (f" -> {step.done}" if step.done else "")
    return line + (f"; the registry does not show it yet: {progress.unseen}" if progress.unseen else "")


def word(decision: Decision) -> str:
    """Of a decision."""
    return {Widen: "widened", Stop: "STOPPED", Finished: "finished"}.get(type(decision), "waits")


def rollout_lines(root: Path) -> Iterator[str]:
    """One step of every roll-out, in words."""
    for progress in on_evaluation(root, who=current_user()):
        yield told(progress)
        yield from (f"  {line}" for line in progress.registry)


def page_line(root: Path) -> str:
    """Write the page of the fleet."""
    with intake_of(root) as intake:
        return f"Fleet: {write_page(root / PAGE, open_fleet(root), intake)}"


def reconcile_lines(root: Path) -> Iterator[str]:
    """Bring the registry in line with what is signed."""
    yield from reconcile(open_fleet(root), root, who=current_user()) or ["nothing to repair"]


def rebuild_lines(root: Path) -> Iterator[str]:
    """Make the registry again from what is published."""
    yield from rebuild(open_fleet(root), root, who=current_user()) or ["nothing is missing"]


def as_json(rows: list[dict[str, object]]) -> str:
    """For programs."""
    return json.dumps(rows, indent=1)


def _shown(repository: Repository, root: Path, step: Step, who: str) -> Progress:
    release, counts = step.release.release, step.counts
    try:
        write_counts(root, step.model, release.version, release.wave.index + 1,
                     {"ok": counts.ok, "failed": counts.failed, "silent": counts.silent}, counter=release.counter)
        lines = show(repository, root, step.target, step.model, who=who, why=step.decision.reason)
    except NasError as error:  # devices have the release all the same; the next run shows it
        return Progress(step, (), str(error))
    return Progress(step, tuple(lines), "")
