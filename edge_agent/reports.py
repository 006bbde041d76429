"""Signed reports: written to a bounded outbox, and sent when the receiver can be reached."""

from __future__ import annotations

import json
import logging
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from securesystemslib.dsse import Envelope
from tuf.api.exceptions import DownloadError

from edge_agent import __version__, config
from edge_agent.contract import wire
from edge_agent.disk import write_atomic
from edge_agent.fetch import WebFetcher
from edge_agent.state import AgentState
from edge_agent.updates import stamp

MAX_WAITING: Final = 200
"""Reports in the outbox."""
_RETRIED: Final = (408, 425, 429)
_log = logging.getLogger(__name__)


def write(folder: Path, settings: config.Config, state: AgentState, now: float, drift: dict[str, Any]) -> None:
    """Signs the pending events and writes them to the outbox. After a kill, the same numbers are written again.

    Args:
        folder: The state folder.
        settings: The configuration of the device.
        state: The persistent state; its events are removed.
        now: Seconds since 1970.
        drift: Drift sums; they are part of the last report.

    Raises:
        SetupError: The key of the device is missing.
        OSError: The state folder cannot be written.
    """
    outbox = folder / "outbox"
    outbox.mkdir(exist_ok=True)
    key = config.signer(folder, settings)
    state.save(folder)  # first: after a full disk, the same number could otherwise stand for another event
    runtime = {"onnxruntime": config.runtime(), "python": platform.python_version(), "machine": platform.machine()}
    for number, event in enumerate(state.events, 1):
        report = wire.Report(
            schema=wire.SCHEMA, device=settings.device, target=settings.target, model=settings.model,
            seq=state.seq + number, time=stamp(now), agent=__version__, runtime=runtime, counter=state.counter,
            sha256=state.sha256, quarantine=tuple(sorted(state.quarantine)),
            drift=drift if number == len(state.events) else {}, **event)
        envelope = Envelope(wire.canonical(asdict(report)), wire.REPORT_TYPE, {})
        envelope.sign(key)
        write_atomic(outbox / f"{report.seq:016d}-{report.event}.json", json.dumps(envelope.to_dict()).encode())
    state.seq += len(state.events)
    state.events, state.reported = [], now
    state.save(folder)
    waiting = sorted(outbox.glob("*.json"), key=lambda path: (not path.stem.endswith("-current"), path.name))
    for path in waiting[: max(0, len(waiting) - MAX_WAITING)]:  # heartbeats first, then the oldest
        path.unlink()


def send(folder: Path, settings: config.Config) -> None:
    """Sends the reports of the outbox, oldest first. Reports that cannot be sent stay in the outbox."""
    web = WebFetcher(settings.min_speed, settings.window_s)
    for path in sorted((folder / "outbox").glob("*.json")):
        content = path.read_bytes()
        try:
            if settings.report.startswith(("http://", "https://")):
                status = web.post(settings.report, content)
                if status >= 500 or status in _RETRIED or 300 <= status < 400:
                    _log.warning("reports are sent later: %s returns status %d", settings.report, status)
                    return
                if status >= 400:
                    _log.error("report %s is rejected with status %d and dropped: is the device enrolled?", path.name,
                               status)
            else:
                number = int(path.name.partition("-")[0])
                write_atomic(Path(settings.report) / f"{settings.device}-{number}.json", content)
        except (DownloadError, OSError) as error:
            _log.warning("reports are sent later: %s", error)
            return
        path.unlink()
