"""The update cycle of a device: check the repository, act on the decision, report; once or in a loop."""

from __future__ import annotations

import errno
import fcntl
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_agent import config, reports, watchdog
from edge_agent.choose import Adopt, DeviceState, Install, NothingToDo, Refuse, choose
from edge_agent.disk import reach
from edge_agent.errors import AgentError, SetupError
from edge_agent.fetch import fetcher_for
from edge_agent.install import Installer, about
from edge_agent.slots import Slots
from edge_agent.state import AgentState, load
from edge_agent.updates import Updates

RETRY_S: Final = 60
"""Pause after a failed check or try; doubled after each further one, up to `poll_s`."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """Result of one check: an event, an error code (empty: no error) and a line for people."""

    event: str
    code: str = ""
    detail: str = ""

    @property
    def status(self) -> int:
        """Exit code: 0 no error; 3 unreachable, retried later; 4 refused or failed; 5 the disk is full."""
        return {"": 0, "unreachable": 3, "slow_data": 3, "disk_full": 5}.get(self.code, 4)


class Agent:
    """The agent of one device.

    Args:
        folder: The state folder.
        clock: Returns the time of the device, in seconds since 1970.

    Raises:
        SetupError: The device is not set up.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock, self.settings = folder, clock, config.read(folder)

    def once(self, url: str = "") -> UpdateOutcome:
        """Resumes an interrupted installation, checks the repository and acts on the decision.

        A model that passed its probation stays in use whatever happens.

        Args:
            url: A repository to use in place of the configured one, with the same checks: a USB stick or a mirror.

        Raises:
            SetupError: Another agent is running, or the key of the device is missing.
            OSError: The state folder cannot be used.
        """
        with _exclusive(self.folder):
            state = self.state()
            before = len(state.events)
            self._about: dict[str, Any] = {}
            try:
                outcome = self._update(state, url or self.settings.url)
            except (AgentError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                code = error.code if isinstance(error, AgentError) else "disk_full"
                event = state.events[-1]["event"] if len(state.events) > before else "refused"
                outcome = UpdateOutcome(event, code, str(error))
            try:
                self._report(state, outcome, noted=len(state.events) > before)
            except OSError as error:
                _log.warning("no report is written: %s", error)
            return outcome

    def run(self) -> None:
        """Checks the repository in a loop, every `poll_s` seconds."""
        watchdog.notify("READY=1")
        retry_s: float = RETRY_S
        while True:
            try:
                outcome = self.once()
                _log.info("%s %s %s", outcome.event, outcome.code, outcome.detail)
                again = outcome.event == "failed" or outcome.status in (3, 5)
            except (OSError, SetupError) as error:  # temporary: a full disk, an update from a USB stick
                _log.error("%s", error)
                again = True
            pause_s = min(retry_s, self.settings.poll_s) if again else self.settings.poll_s
            retry_s = min(retry_s * 2, self.settings.poll_s) if again else RETRY_S
            watchdog.sleep(pause_s * random.uniform(0.9, 1.1))  # devices that started together spread their requests

    def state(self) -> AgentState:
        """Returns the persistent state; if it was lost, the state that follows from the slots and the floor file."""
        state = load(self.folder)
        if state is None:
            current = Slots(self.folder).current()
            # Report numbers must grow. After the state was lost, the time in ms is above all numbers that were used.
            state = AgentState(seq=int(self.clock() * 1000))
            if current is not None:
                state.counter, state.sha256 = current.release.counter, current.card.sha256
        state.counter = max(state.counter, self.settings.counter)
        state.floor = max(state.floor, self.settings.issued)
        return state

    def _update(self, state: AgentState, url: str) -> UpdateOutcome:
        settings = self.settings
        installer = Installer(self.folder, state, max_bytes=int(settings.max_mb * 2**20))
        installer.recover()
        source = fetcher_for(url, settings.min_speed, settings.window_s)
        updates = Updates(source, url.rstrip("/"), self.folder, floor=state.floor, now=self.clock())
        reach("refreshed")
        if updates.issued != state.floor:
            state.floor = updates.issued
            state.save(self.folder)
        device = DeviceState(settings.device, settings.model, frozenset(settings.hardware), config.runtime(),
                             state.counter, state.sha256, state.quarantine)
        decision = choose(updates.offers(settings.target, settings.model), device)
        if not isinstance(decision, NothingToDo):
            offer, self._about = decision.offer, about(decision.offer)
        match decision:
            case Refuse():
                raise AgentError(decision.code, decision.message)
            case Adopt():
                installer.adopt(offer)
            case Install():
                installer.install(offer, source, updates.url_of(offer.card.onnx, offer.card.sha256))
            case _:
                if state.refusal:
                    state.refusal = ""
                    state.save(self.folder)
                now = f"release {state.counter} is in use" if state.sha256 else "no release yet"
                return UpdateOutcome("current", detail=now)
        return UpdateOutcome("installed", detail=f"release {offer.release.counter} is in use")

    def _report(self, state: AgentState, outcome: UpdateOutcome, *, noted: bool) -> None:
        """Reports new events, and a heartbeat once per `heartbeat_h`. The same refusal is reported once."""
        settings, now = self.settings, self.clock()
        if not settings.report:
            state.events = []
            return
        refusal = f"{outcome.code} {self._about.get('counter')} {self._about.get('sha256')}"
        due = now - state.reported > settings.heartbeat_h * 3600
        if outcome.code and not noted and outcome.code != "unreachable" and refusal != state.refusal:
            state.refusal = refusal
            self._note(state, "refused", outcome, self._about)
        elif due and not state.events:
            self._note(state, "current", outcome, {})
        if state.events:
            reports.write(self.folder, settings, state, now, _drift(self.folder) if due else {})
        reports.send(self.folder, settings)

    def _note(self, state: AgentState, event: str, outcome: UpdateOutcome, subject: dict[str, Any]) -> None:
        detail = outcome.detail[:500] if outcome.code else ""
        state.events.append({"event": event, "code": outcome.code, "detail": detail, "about": subject, "probation": {}})


def _drift(folder: Path) -> dict[str, Any]:
    if not (folder / "drift.json").exists():
        return {}
    from edge_agent.drift import Sketch  # imported here: it loads numpy, which an idle agent does not need

    try:
        return Sketch(folder).take()
    except OSError as error:  # the sums stay in the file, and the report is sent without them
        _log.warning("no drift sums are reported: %s", error)
        return {}


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(f"another agent is running in {folder}: wait until it ends, or stop it") from error
        yield
