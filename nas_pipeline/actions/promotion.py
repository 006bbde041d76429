"""Promotion, rollback and history as lines of text for the command line."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas_pipeline.gates.gate import format_figure
from nas_pipeline.registry.aliases import read_alias_state
from nas_pipeline.registry.history import took_effect
from nas_pipeline.registry.promote import promote, rollback


def promote_lines(root: Path, target: str, version: str | None, why: str) -> Iterator[str]:
    """Promote, and say so with every gate's answer."""
    done = promote(root, target, version=version, who=who_am_i(), why=why)
    if not done.changed:
        yield f"{done.model}: version {done.version} is the champion already"
        return
    for gate in done.gates:
        reason = f"  {gate.reason}" if gate.reason else ""
        yield f"  green  {gate.gate:24} {format_figure(gate.figure):>14}  bound {format_figure(gate.bound)}{reason}"
    before = f"; version {done.before} is previous" if done.before else ""
    yield f"{done.model}: version {done.version} is champion{before}"


def rollback_line(root: Path, target: str, why: str) -> str:
    """Roll back, and say so."""
    done = rollback(root, target, who=who_am_i(), why=why)
    return f"{done.model}: version {done.version} is champion again; version {done.before} is withdrawn"


def history_rows(root: Path, target: str) -> list[dict[str, Any]]:
    """Every event, oldest first, with whether it came about."""
    now = read_alias_state(root, target)
    done = took_effect(now.events, now.champion)
    return [{**event.to_json(), "came_about": took} for event, took in zip(now.events, done, strict=True)]


def history_lines(root: Path, target: str) -> Iterator[str]:
    """The same for people."""
    now = read_alias_state(root, target)
    yield (f"{now.model}: champion {now.champion or 'none'}, previous {now.previous or 'none'}, "
           f"candidate {now.candidate or 'none'}")
    for event, took in zip(now.events, took_effect(now.events, now.champion), strict=True):
        yield f"{event.when[:19]}Z  {event.kind} version {event.version}" + ("" if took else " (interrupted)")
        yield f"  by {event.who}: {event.why or 'no reason given'}"
        yield f"  {event.summary}" + (f"; {event.evidence} in run {event.run_id}" if event.evidence else "")


def who_am_i() -> str:
    """The name for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
