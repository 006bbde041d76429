"""Signed reports: kept in a bounded outbox until somebody takes them."""

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
from edge_agent.fetch import Web
from edge_agent.state import State, write_atomic
from edge_agent.updates import stamp

KEPT: Final = 200
"""Reports in the outbox."""
_LATER: Final = (408, 425, 429)
_log = logging.getLogger(__name__)


def write(folder: Path, told: config.Config, state: State, now: float, drift: dict[str, Any]) -> None:
    """Sign what happened, and put it into the outbox. A kill on the way writes the same numbers again.

    Args:
        folder: The agent's state.
        told: Its configuration.
        state: Its memory; the events in it are told, and taken out.
        now: Seconds since 1970.
        drift: Sums of what was served; they go with the last report.

    Raises:
        SetupError: The key is gone.
        OSError: The disk does not take it.
    """
    outbox = folder / "outbox"
    outbox.mkdir(exist_ok=True)
    key = config.signer(folder, told)
    state.save(folder)  # first: or after a full disk, the same number could stand for another event
    runtime = {"onnxruntime": config.runtime(), "python": platform.python_version(), "machine": platform.machine()}
    for number, event in enumerate(state.events, 1):
        report = wire.Report(
            schema=wire.SCHEMA, device=told.device, target=told.target, model=told.model, seq=state.seq + number,
            time=stamp(now), agent=__version__, runtime=runtime, counter=state.counter, sha256=state.sha256,
            quarantine=tuple(sorted(state.quarantine)), drift=drift if number == len(state.events) else {}, **event)
        envelope = Envelope(wire.canonical(asdict(report)), wire.REPORT_TYPE, {})
        envelope.sign(key)
        path = outbox / f"{report.seq:016d}-{report.event}.json"
        write_atomic(path, json.dumps(envelope.to_dict()).encode())
    state.seq += len(state.events)
    state.events, state.reported = [], now
    state.save(folder)
    kept = sorted(outbox.glob("*.json"), key=lambda path: (not path.stem.endswith("-current"), path.name))
    for path in kept[: max(0, len(kept) - KEPT)]:  # heartbeats first, old before new
        path.unlink()


def send(folder: Path, told: config.Config) -> None:
    """Hand over what is in the outbox, oldest first; what is not taken stays for the next time."""
    web = Web(told.min_speed, told.window_s)
    for path in sorted((folder / "outbox").glob("*.json")):
        content = path.read_bytes()
        try:
            if told.report.startswith(("http://", "https://")):
                status = web.post(told.report, content)
                if status >= 500 or status in _LATER or 300 <= status < 400:
                    _log.warning("reports wait: %s answers %d", told.report, status)
                    return
                if status >= 400:
                    _log.error("report %s is refused for good, status %d: is the device enrolled?", path.name, status)
            else:
                number = int(path.name.partition("-")[0])
                write_atomic(Path(told.report) / f"{told.device}-{number}.json", content)
        except (DownloadError, OSError) as error:
            _log.warning("reports wait: %s", error)
            return
        path.unlink()
