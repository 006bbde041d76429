"""Compares what the devices saw with what the network was trained for, and lets Prefect start a retraining."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from edge_agent.drift import Sums
from edge_agent.wire import Report
from flows.tasks import failed
from flows.worktree import repository
from nas_pipeline.core.files import write_json
from nas_pipeline.data.loaders import load_manifest, load_val
from nas_pipeline.errors import NasError
from nas_pipeline.export.val_predictions import FILE, read_val_predictions
from nas_pipeline.fleet.drift import Bounds, Verdict, collected, compare, reference

logger = logging.getLogger(__name__)

EVENT = "nas.drift.crossed"
REPORT = Path("reports", "drift.json")
Loader = Callable[[Path, str], Iterable[Report]]
"""Reports of one device family, of a workspace."""


@flow(name="drift", persist_result=False)
def drift(
    psi: float = 0.2, alpha: float = 0.001, min_images: int = 1000, reports: str = "fleet/reports.db",
    repo: str | None = None,
) -> State[Any]:
    """Compare and tell; a bound that is crossed is an event, no failure.

    Args:
        psi: Bound of the population stability index.
        alpha: Of the Kolmogorov-Smirnov test.
        min_images: Below, nothing is said.
        reports: The database of the fleet's reports: a file below the repository, or a URL.
        repo: The repository; default: NAS_REPO, else where the process runs.
    """
    try:
        root = repository(Path(repo or os.environ.get("NAS_REPO") or "."))
        verdicts = watch(root, from_intake(reports), Bounds(psi, alpha, min_images))
    except NasError as error:
        return failed(error)
    create_markdown_artifact(page(verdicts), key="drift")
    return Completed(message="; ".join(_told(each) for each in verdicts) or "no device has told anything yet")


def watch(root: Path, load: Loader, bounds: Bounds) -> list[Verdict]:
    """Compare every family of which there is an export; write reports/drift.json and emit the events.

    Raises:
        NasError: Artefacts cannot be read, or are those of other data.
    """
    verdicts = []
    for folder in sorted(each.parent for each in (root / "artifacts" / "export").glob(f"*/{FILE}")):
        for seen in collected(load(root, folder.name)):
            verdicts.append(compare(seen, expected(root, folder), bounds))
            tell(verdicts[-1])
    write_json(root / REPORT, [each.to_json() for each in verdicts])
    return verdicts


def tell(verdict: Verdict) -> None:
    """Emit the event where a bound is crossed: the automation of flows/automations.py waits for it."""
    logger.info("%s", _told(verdict))
    if verdict.crossed:
        emit_event(
            EVENT, resource={"prefect.resource.id": f"nas.fleet.{verdict.family}.{verdict.model}"},
            payload={"crossed": list(verdict.crossed), "images": verdict.images, "counter": verdict.counter},
        )


def expected(root: Path, folder: Path) -> Sums:
    """The reference: validation images and the answers of the exported file to them.

    Raises:
        NasError: One of them cannot be read.
    """
    data = root / "artifacts" / "ingest"
    answers = read_val_predictions(folder / FILE)
    classes = len(load_manifest(data).class_names)
    return reference(load_val(data).images, answers.predictions, answers.confidence, classes)


def from_intake(where: str) -> Loader:
    """Reports from the database of the fleet room."""
    def load(root: Path, family: str) -> Iterable[Report]:
        intake_room = importlib.import_module("nas_pipeline.fleet.intake")  # late: it loads a database
        intake = intake_room.Intake(where if "://" in where else root / where)
        try:
            return [each.report for each in intake.heard(family)]
        finally:
            intake.close()

    return load


def _told(verdict: Verdict) -> str:
    if not verdict.enough:
        return (f"{verdict.family}/{verdict.model}: {verdict.images} images so far, at least "
                f"{verdict.bounds.min_images} are needed")
    figures = ", ".join(f"{name} {figure.psi:.3f}" for name, figure in verdict.figures.items())
    answer = f"drift in {', '.join(verdict.crossed)}" if verdict.crossed else "no drift"
    return f"{verdict.family}/{verdict.model}: {answer}; PSI over {verdict.images} images: {figures}"


def page(verdicts: list[Verdict]) -> str:
    """The figures and their bounds, as a table in Markdown."""
    lines = ["# Drift", "", "| family | model | release | images | what | PSI | bound | KS | chance | crossed |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for each in verdicts:
        for name, figure in each.figures.items():
            distance = ("", "") if figure.ks is None else (f"{figure.ks:.3f}", f"{figure.ks_critical:.3f}")
            crossed = "yes" if name in each.crossed else "no" if each.enough else "too few images"
            lines.append(f"| {each.family} | {each.model} | {each.counter} | {each.images} | {name} | {figure.psi:.3f} "
                         f"| {each.bounds.psi:g} | {distance[0]} | {distance[1]} | {crossed} |")
    return "\n".join(lines)
