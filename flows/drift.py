"""Compares what devices saw with what their release was judged on, and says so where a bound is crossed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource
from prefect.states import Completed

from flows.automations import CROSSED, MODEL
from flows.notify import alert, check_blocks
from flows.tasks import failed_state
from flows.worktree import repository
from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.errors import NasError
from nas_pipeline.fleet.reports.drift import RED, DriftRules, DriftVerdict, Watched, judge, watch_all

logger = logging.getLogger(__name__)

FILE = Path("reports") / "drift.json"
DRIFTED = "Drifted"
"""Name of the state where a bound is crossed. The flow has done its work: it is a completed one."""


@flow(name="drift", flow_run_name="{days} days", persist_result=False, on_failure=[alert], on_crashed=[alert])
def drift(
    days: int = 28,
    psi: float = 0.2,
    ks: float = 0.1,
    alpha: float = 0.001,
    min_images: int = 500,
    notify: list[str] | None = None,
    repo: str | None = None,
) -> State[Any]:
    """Look at the newest release of every model of the fleet.

    Args:
        days: How far back reports count; of a younger release, all.
        psi: See DriftRules, as the next three.
        ks: See there.
        alpha: See there.
        min_images: See there.
        notify: Notification blocks, `TYPE/NAME`, that are told of a failure.
        repo: The repository with the fleet's folder; default: NAS_REPO, else where the process runs.
    """
    try:
        check_blocks(notify or [])
        home = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        rules = DriftRules(psi=psi, ks=ks, alpha=alpha, min_images=min_images)
        return look(home, _watched(home, datetime.now(UTC) - timedelta(days=days)), rules)
    except NasError as error:
        return failed_state(error)


def _watched(home: Path, since: datetime) -> list[Watched]:
    from nas_pipeline.actions.fleet import has_fleet, intake_of, open_fleet  # these know MLflow: `make serve` need not

    if not has_fleet(home):
        return []
    with intake_of(home) as intake:
        return watch_all(
            open_fleet(home),
            lambda target, model: [each.report for each in intake.heard(target, model, since=since)],
        )


def look(root: Path, releases: Sequence[Watched], rules: DriftRules) -> State[Any]:
    """Judge each release; write reports/drift.json and an artifact; send an event for each that became red.

    Only for one that was not red last time: a bound is crossed once, and what is red for a month does not start a
    retraining on each of its days. The file is written last: after a crash an event is sent again rather than never.
    """
    verdicts = [judge(each, rules) for each in releases]
    create_markdown_artifact(as_markdown(verdicts), key="drift")
    red = [each for each in verdicts if each.state == RED]
    before = _red_before(root / FILE)
    for verdict in red:
        if _key(verdict.to_json()) not in before:
            announce(verdict)
    write_json(root / FILE, {"when": datetime.now(UTC).isoformat(timespec="seconds"),
                             "models": [each.to_json() for each in verdicts]})
    message = f"{len(verdicts)} looked at, {len(red)} red" + "".join(f"; {each.watched.model}" for each in red)
    logger.info("drift: %s", message)
    return Completed(name=DRIFTED, message=message) if red else Completed(message=message)


def announce(verdict: DriftVerdict) -> None:
    """Send `nas.drift.crossed` with the model as its resource; what listens is made by flows/automations.py.

    By HTTP and not by Prefect's queue of events: this returns when the server has it, or raises.
    """
    found = verdict.watched
    event = Event(
        event=CROSSED,
        resource=Resource.model_validate({
            "prefect.resource.id": MODEL + found.model, "prefect.resource.name": found.model,
            "nas.target": found.target, "nas.version": found.version, "nas.counter": str(found.counter),
        }),
        payload={"images": found.seen.images if found.seen else 0, "devices": found.devices,
                 "crossed": {each.name: [each.value, each.bound] for each in verdict.figures if each.red}},
    )
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    logger.info("%s: %s of release %d", CROSSED, found.model, found.counter)


def as_markdown(verdicts: Sequence[DriftVerdict]) -> str:
    """For people: a line for each model, and what is red."""
    lines = ["# Drift", "", "| model | version | devices | images | state | crossed |", "|---|---|---|---|---|---|"]
    for each in verdicts:
        crossed = ", ".join(f"{row.name} {row.value:.3f} > {row.bound:.3f}" for row in each.figures if row.red)
        found = each.watched
        lines.append(f"| {found.model} | {found.version} | {found.devices} | {found.seen.images if found.seen else 0} "
                     f"| {each.state} | {crossed} |")
    return "\n".join(lines if verdicts else [*lines[:2], "No release is out."])


def _red_before(path: Path) -> set[tuple[str, str, int]]:
    try:
        return {_key(row) for row in read_json(path)["models"] if row["state"] == RED}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s): what is red is told again", path, error)
        return set()


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return str(row["target"]), str(row["model"]), int(row["counter"])
