"""The commands `nas promote`, `nas rollback` and `nas history`, and the text that they print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_pipeline.cli.options import (
    AsJson,
    ProfileName,
    ProjectRoot,
    PromotionReason,
    TargetName,
    open_profile_workspace,
    print_json,
)

if TYPE_CHECKING:
    from nas_pipeline.actions.promotion import ModelHistory
    from nas_pipeline.registry.promote import Promoted

promotion_commands = typer.Typer()


@promotion_commands.command()
def promote(
    target: TargetName, version: Annotated[str | None, typer.Option(help="Version; default: the candidate.")] = None,
    why: PromotionReason = "", profile: ProfileName = "default", root: ProjectRoot = Path(),
) -> None:
    """Make a version the champion if every gate of mlflow/promotion.yaml is green."""
    from nas_pipeline.actions.promotion import promote as promote_version

    for line in promotion_lines(promote_version(open_profile_workspace(root.resolve(), profile), target, version, why)):
        typer.echo(line)


@promotion_commands.command()
def rollback(
    target: TargetName, why: PromotionReason = "", profile: ProfileName = "default", root: ProjectRoot = Path(),
) -> None:
    """Make the previous champion the champion again."""
    from nas_pipeline.actions.promotion import rollback as roll_back

    typer.echo(rollback_line(roll_back(open_profile_workspace(root.resolve(), profile), target, why)))


@promotion_commands.command()
def history(
    target: TargetName, profile: ProfileName = "default", as_json: AsJson = False, root: ProjectRoot = Path(),
) -> None:
    """List promotions, refusals and rollbacks with their user, time, reason and evidence."""
    from nas_pipeline.actions.promotion import read_history

    events = read_history(open_profile_workspace(root.resolve(), profile), target)
    if as_json:
        print_json(history_rows(events))
        return
    for line in history_lines(events):
        typer.echo(line)


def promotion_lines(promoted: Promoted) -> Iterator[str]:
    """Returns a line for each gate, and one for the new champion."""
    from nas_pipeline.gates.gate import format_figure

    if not promoted.changed:
        yield f"{promoted.model}: version {promoted.version} is the champion already"
        return
    for gate in promoted.gates:
        reason = f"  {gate.reason}" if gate.reason else ""
        yield f"  green  {gate.gate:24} {format_figure(gate.figure):>14}  bound {format_figure(gate.bound)}{reason}"
    before = f"; version {promoted.before} is previous" if promoted.before else ""
    yield f"{promoted.model}: version {promoted.version} is champion{before}"


def rollback_line(promoted: Promoted) -> str:
    """Returns the line that reports a rollback."""
    return (f"{promoted.model}: version {promoted.version} is champion again; "
            f"version {promoted.before} is withdrawn")


def history_rows(history: ModelHistory) -> list[dict[str, Any]]:
    """Returns the events, oldest first, as JSON data."""
    return [{**row.event.to_json(), "came_about": row.took_effect} for row in history.events]


def history_lines(history: ModelHistory) -> Iterator[str]:
    """Returns the aliases and the events, oldest first, as text."""
    yield (f"{history.model}: champion {history.champion or 'none'}, previous {history.previous or 'none'}, "
           f"candidate {history.candidate or 'none'}")
    for row in history.events:
        event = row.event
        yield (f"{event.when[:19]}Z  {event.kind} version {event.version}"
               + ("" if row.took_effect else " (interrupted)"))
        yield f"  by {event.who}: {event.why or 'no reason given'}"
        yield f"  {event.summary}" + (f"; {event.evidence} in run {event.run_id}" if event.evidence else "")
