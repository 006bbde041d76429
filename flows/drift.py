"""Flow `drift`, every day: compares reported histograms with their release's reference, and reports exceeded bounds."""

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
from nas_pipeline.fleet.reports.drift import (
    RED,
    DriftRules,
    DriftVerdict,
    ObservedRelease,
    evaluate_drift,
    observe_releases,
)

logger = logging.getLogger(__name__)

FILE = Path("reports") / "drift.json"
DRIFTED = "Drifted"
"""Name of the final state if a bound is exceeded. It is a completed state: the flow has succeeded."""


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
    """Check every published release of the fleet for drift.

    Args:
        days: Maximum age of the reports, in days.
        psi: Bound on the population stability index; see `DriftRules`.
        ks: Bound on the Kolmogorov-Smirnov statistic; see `DriftRules`.
        alpha: Significance level of the critical values; see `DriftRules`.
        min_images: Minimum number of reported images; see `DriftRules`.
        notify: Notification blocks, `TYPE/NAME`, that are notified of a failure.
        repo: The repository with the fleet's folder; default: NAS_REPO, else the current directory.
    """
    try:
        check_blocks(notify or [])
        home = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        rules = DriftRules(psi=psi, ks=ks, alpha=alpha, min_images=min_images)
        return check_releases(home, _observe(home, datetime.now(UTC) - timedelta(days=days)), rules)
    except NasError as error:
        return failed_state(error)


def _observe(home: Path, since: datetime) -> list[ObservedRelease]:
    from nas_pipeline.actions.fleet import has_fleet, open_fleet, open_intake  # imports MLflow

    if not has_fleet(home):
        return []
    with open_intake(home) as intake:
        return observe_releases(
            open_fleet(home),
            lambda target, model: [row.report for row in intake.reports(target, model, since=since)],
        )


def check_releases(root: Path, releases: Sequence[ObservedRelease], rules: DriftRules) -> State[Any]:
    """Evaluates each release; writes reports/drift.json and an artifact; sends an event for each that became red.

    No event is sent for a release that was red in the previous run, so that a lasting drift starts one retraining only.
    The file is written last: after a crash an event may be sent twice, but is never lost.
    """
    verdicts = [evaluate_drift(release, rules) for release in releases]
    create_markdown_artifact(as_markdown(verdicts), key="drift")
    red = [verdict for verdict in verdicts if verdict.state == RED]
    before = _red_before(root / FILE)
    for verdict in red:
        if _key(verdict.to_json()) not in before:
            send_drift_event(verdict)
    write_json(root / FILE, {"when": datetime.now(UTC).isoformat(timespec="seconds"),
                             "models": [verdict.to_json() for verdict in verdicts]})
    models = "".join(f"; {verdict.observed.model}" for verdict in red)
    message = f"{len(verdicts)} releases checked, {len(red)} red{models}"
    logger.info("drift: %s", message)
    return Completed(name=DRIFTED, message=message) if red else Completed(message=message)


def send_drift_event(verdict: DriftVerdict) -> None:
    """Sends the event `nas.drift.crossed` with the model as its resource. flows/automations.py creates the listener.

    Uses HTTP instead of Prefect's event queue: the call returns after the server has stored the event, or raises.
    """
    release = verdict.observed
    event = Event(
        event=CROSSED,
        resource=Resource.model_validate({
            "prefect.resource.id": MODEL + release.model, "prefect.resource.name": release.model,
            "nas.target": release.target, "nas.version": release.version, "nas.counter": str(release.counter),
        }),
        payload={"images": release.seen.images if release.seen else 0, "devices": release.devices,
                 "crossed": {row.name: [row.value, row.bound] for row in verdict.figures if row.red}},
    )
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    logger.info("%s: %s of release %d", CROSSED, release.model, release.counter)


def as_markdown(verdicts: Sequence[DriftVerdict]) -> str:
    """Returns a Markdown table with one row per release and its exceeded bounds."""
    lines = ["# Drift", "", "| model | version | devices | images | state | crossed |", "|---|---|---|---|---|---|"]
    for verdict in verdicts:
        crossed = ", ".join(f"{row.name} {row.value:.3f} > {row.bound:.3f}" for row in verdict.figures if row.red)
        release = verdict.observed
        images = release.seen.images if release.seen else 0
        lines.append(f"| {release.model} | {release.version} | {release.devices} | {images} "
                     f"| {verdict.state} | {crossed} |")
    return "\n".join(lines if verdicts else [*lines[:2], "No release is published."])


def _red_before(path: Path) -> set[tuple[str, str, int]]:
    try:
        return {_key(row) for row in read_json(path)["models"] if row["state"] == RED}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s): events for red releases are sent again", path, error)
        return set()


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return str(row["target"]), str(row["model"]), int(row["counter"])
