"""One line of text per roll-out step, for the command line, Prefect's log and Prefect's pages."""

from __future__ import annotations

from nas_pipeline.actions.devices import RolloutProgress
from nas_pipeline.fleet.rollout.advance import RolloutStep
from nas_pipeline.fleet.rollout.state_machine import Finished, Stop, Widen


def rollout_line(progress: RolloutProgress) -> str:
    """Returns the line for one roll-out step: release, wave, decision, reason, and the change that was signed."""
    step = progress.step
    release = step.release.release
    verb = {Widen: "widened", Stop: "STOPPED", Finished: "finished"}.get(type(step.decision), "waits")
    line = f"{step.model} release {release.counter}, wave {release.wave.index + 1}: {verb} - {step.decision.reason}"
    if change := change_text(step):
        line += f" -> {change}"
    if progress.registry_error:
        line += f"; the registry is not updated yet: {progress.registry_error}"
    return line


def change_text(step: RolloutStep) -> str:
    """Returns what a step signed; empty if nothing was to be signed."""
    change = step.change
    if change is None:
        if not isinstance(step.decision, Stop):
            return ""
        return "nothing was signed, there is no other release to offer: examine the devices (docs/rollout.md)"
    waits = "" if change.live else " (waits for the approver)"
    if change.now is None:
        return f"withdrawn; there is no earlier release{waits}"
    release, wave = change.now.release, change.now.release.wave
    if change.kind == "widened":
        return f"wave {wave.index + 1} of {len(wave.shares)}: {wave.share / 100:g} %{waits}"
    return f"release {release.counter}, version {release.version}, for every device{waits}"
