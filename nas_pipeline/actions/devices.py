"""Operations on devices, reports, roll-outs and the registry view of the fleet. They return records; the CLI prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nas_pipeline.actions.fleet import fleet_settings, open_fleet, open_intake
from nas_pipeline.actions.identity import current_user
from nas_pipeline.config.params import load_params
from nas_pipeline.errors import FleetError, KeysUnavailable, NasError
from nas_pipeline.fleet.reports.collect import Collected, check_outside_store, collect
from nas_pipeline.fleet.reports.drop import open_drop
from nas_pipeline.fleet.reports.intake import EnrolledDevice
from nas_pipeline.fleet.reports.signed import Enrolment, parse_enrolment
from nas_pipeline.fleet.rollout.advance import RolloutStep, advance
from nas_pipeline.fleet.rollout.page import write_page
from nas_pipeline.fleet.rollout.rebuild import rebuild
from nas_pipeline.fleet.rollout.reconcile import published_models, reconcile, update_registry
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.fleet_tags import write_counts

PAGE = Path("reports", "fleet.html")
_MAX_ENROLMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The result of one enrolment."""

    enrolment: Enrolment
    changed: bool
    """False: the device was enrolled with this key already."""


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """The result of one roll-out step, and of the update of the registry that follows it."""

    step: RolloutStep
    registry: tuple[str, ...]
    """Changes of aliases."""
    registry_error: str
    """Why the registry was not updated; empty: it was. The next run updates it."""


@dataclass(frozen=True, slots=True)
class RolloutRun:
    """The result of one step of every roll-out."""

    progress: tuple[RolloutProgress, ...]
    failures: tuple[FleetError, ...]
    """One per model whose change cannot be signed. The steps of the other models are complete."""

    def raise_failures(self) -> None:
        """Raises the failures as one error.

        Raises:
            KeysUnavailable: At least one change cannot be signed.
        """
        if self.failures:
            raise KeysUnavailable(" | ".join(map(str, self.failures))) from self.failures[0]


def enrol_devices(root: Path, source: str) -> list[EnrolmentResult]:
    """Enrols the devices in a file, or on standard input (`-`): one line of `nas-agent init` per device.

    Every line is parsed before the first device is enrolled.
    """
    text = sys.stdin.read(_MAX_ENROLMENTS) if source == "-" else Path(source).read_text(encoding="utf-8")
    enrolments = [parse_enrolment(line) for line in text.splitlines() if line.strip()]
    with open_intake(root) as intake:
        return [EnrolmentResult(enrolment, intake.enrol(enrolment)) for enrolment in enrolments]


def retire_device(root: Path, device: str) -> None:
    """Rejects all further reports of a device, and counts it in no wave."""
    with open_intake(root) as intake:
        intake.retire(device)


def list_devices(root: Path, target: str | None, *, retired: bool) -> list[EnrolledDevice]:
    """Returns the enrolled devices of a target, or of all targets."""
    with open_intake(root) as intake:
        return intake.devices(target, retired=retired)


def receive_reports(root: Path, host: str, port: int, on_start: Callable[[], None]) -> None:
    """Receives reports over HTTP until Ctrl-C or SIGTERM. Calls `on_start` before the server starts."""
    from nas_pipeline.fleet.reports.receiver import server

    with open_intake(root) as intake:
        on_start()
        server(intake.accept, host, port).run()


def collect_reports(root: Path, drop: str | None) -> Collected | None:
    """Collects the reports in a drop (default: `fleet.drop` of params.yaml); returns None if there is no drop.

    Raises:
        FleetError: The drop is inside the store of signed files.
    """
    params = load_params(root)
    address = drop or (params.fleet.drop if params.fleet else None)
    if not address:
        return None
    address = address if "://" in address else str(root / address)
    check_outside_store(address, fleet_settings(root, params).store)
    with open_intake(root) as intake:
        return collect(open_drop(address), intake.accept)


def delete_old_reports(root: Path, keep_days: int) -> int:
    """Deletes the reports that are older than `keep_days` days; returns their number."""
    with open_intake(root) as intake:
        return intake.delete_before(datetime.now(UTC) - timedelta(days=keep_days))


def advance_rollouts(root: Path, *, who: str) -> RolloutRun:
    """Takes one step of every roll-out. Signs first; then updates the registry, as far as MLflow responds.

    A change that cannot be signed does not prevent the steps of the other models: it is in `failures` of the result.

    Raises:
        NasError: The fleet cannot be read.
    """
    repository = open_fleet(root)
    progress: list[RolloutProgress] = []
    failures: list[FleetError] = []
    with open_intake(root) as intake:
        for target, model in published_models(repository):
            try:
                step = advance(repository, intake, target, model, who=who)
            except KeysUnavailable as error:
                failures.append(error)
                continue
            if step is not None:
                progress.append(_update_registry(repository, root, step, who))
    return RolloutRun(tuple(progress), tuple(failures))


def write_fleet_page(root: Path) -> Path:
    """Writes reports/fleet.html; returns its path."""
    with open_intake(root) as intake:
        return write_page(root / PAGE, open_fleet(root), intake)


def reconcile_registry(root: Path) -> list[str]:
    """Updates the registry to match the signed releases; returns the repairs."""
    return reconcile(open_fleet(root), root, who=current_user())


def rebuild_registry(root: Path) -> list[str]:
    """Rebuilds the registry from the published files; returns the changes."""
    return rebuild(open_fleet(root), root, who=current_user())


def _update_registry(repository: Repository, root: Path, step: RolloutStep, who: str) -> RolloutProgress:
    release, counts = step.release.release, step.counts
    try:
        write_counts(root, step.model, release.version, release.wave.index + 1,
                     {"ok": counts.ok, "failed": counts.failed, "silent": counts.silent}, counter=release.counter)
        lines = update_registry(repository, root, step.target, step.model, who=who, why=step.decision.reason)
    except NasError as error:  # the devices get the release without the registry; the next run updates it
        return RolloutProgress(step, (), str(error))
    return RolloutProgress(step, tuple(lines), "")
