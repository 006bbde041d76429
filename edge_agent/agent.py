"""One look at the fleet's repository, and what follows from it; and one after the other, for ever."""

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
from edge_agent.choose import Adopt, Device, Install, Nothing, Refuse, choose
from edge_agent.errors import AgentError, SetupError
from edge_agent.failpoints import reach
from edge_agent.install import Installer, about
from edge_agent.slots import Slots
from edge_agent.state import State, load
from edge_agent.updates import Place, Updates

RETRY_S: Final = 60
"""After a first look that gave nothing, or a try that failed; doubled each time, up to the usual pause."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one look: the event, the code of what stood in the way, and a line for people."""

    event: str
    code: str = ""
    detail: str = ""

    @property
    def status(self) -> int:
        """Exit code: 0 as it should be; 3 not reached, and tried again; 4 refused or failed; 5 the disk is full."""
        known = {"": 0, "unreachable": 3, "slow_data": 3, "disk_full": 5}
        return known.get(self.code, 4)


class Agent:
    """The agent of one device.

    Args:
        folder: Its state.
        clock: Seconds since 1970, by the device.

    Raises:
        SetupError: The device is not set up.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock, self.told = folder, clock, config.read(folder)

    def once(self, url: str = "") -> Outcome:
        """Take up what was cut off, look, and do what is to be done. Whatever happens, a model that worked is in use.

        Args:
            url: Another place than usual, with the same checks: a stick, a mirror.

        Raises:
            SetupError: Another agent is at work, or the key is gone.
            OSError: The state folder cannot be used at all.
        """
        with _alone(self.folder):
            state = self.state()
            before = len(state.events)
            self._about: dict[str, Any] = {}
            try:
                outcome = self._look(state, url or self.told.url)
            except (AgentError, OSError) as error:
                code = error.code if isinstance(error, AgentError) else _code(error)
                event = state.events[-1]["event"] if len(state.events) > before else "refused"
                outcome = Outcome(event, code, str(error))
            try:
                self._report(state, outcome, noted=len(state.events) > before)
            except OSError as error:
                _log.warning("nothing is reported: %s", error)
            return outcome

    def run(self) -> None:
        """Look for ever."""
        watchdog.notify("READY=1")
        retry: float = RETRY_S
        while True:
            try:
                outcome = self.once()
                _log.info("%s %s %s", outcome.event, outcome.code, outcome.detail)
                again = outcome.event == "failed" or outcome.status in (3, 5)
            except (OSError, SetupError) as error:  # a disk that comes and goes, a stick at work: no reason to end
                _log.error("%s", error)
                again = True
            pause = min(retry, self.told.poll_s) if again else self.told.poll_s
            retry = min(retry * 2, self.told.poll_s) if again else RETRY_S
            watchdog.sleep(pause * random.uniform(0.9, 1.1))  # a fleet that started together does not ask together

    def state(self) -> State:
        """What is remembered; without a memory, what the slots and the floor file say."""
        state = load(self.folder)
        if state is None:
            current = Slots(self.folder).current()
            # Reports have growing numbers. After a loss of memory, the time (in ms) is above all that were used.
            state = State(seq=int(self.clock() * 1000))
            if current is not None:
                state.counter, state.sha256 = current.release.counter, current.card.sha256
        state.counter = max(state.counter, self.told.counter)
        state.floor = max(state.floor, self.told.issued)
        return state

    def _look(self, state: State, url: str) -> Outcome:
        told = self.told
        installer = Installer(self.folder, state, max_bytes=int(told.max_mb * 2**20))
        installer.recover()
        source = told.source(url)
        place = Place(source, url.rstrip("/"), (self.folder / "root.json").read_bytes(), self.folder)
        updates = Updates(place, state.floor, self.clock())
        reach("refreshed")
        if updates.issued != state.floor:
            state.floor = updates.issued
            state.save(self.folder)
        device = Device(told.device, told.model, frozenset(told.hardware), config.runtime(), state.counter,
                        state.sha256, state.quarantine)
        decision = choose(updates.offers(told.target, told.model), device)
        if not isinstance(decision, Nothing):
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
                return Outcome("current", detail=now)
        return Outcome("installed", detail=f"release {offer.release.counter} is in use")

    def _report(self, state: State, outcome: Outcome, *, noted: bool) -> None:
        """Say what is new; once a day, that nothing is. A refusal is said once, not at each look."""
        told, now = self.told, self.clock()
        if not told.report:
            state.events = []
            return
        refusal = f"{outcome.code} {self._about.get('counter')} {self._about.get('sha256')}"
        due = now - state.reported > told.heartbeat_h * 3600
        if outcome.code and not noted and outcome.code != "unreachable" and refusal != state.refusal:
            state.refusal = refusal
            self._note(state, "refused", outcome, self._about)
        elif due and not state.events:
            self._note(state, "current", outcome, {})
        if state.events:
            reports.write(self.folder, told, state, now, _drift(self.folder) if due else {})
        reports.send(self.folder, told)

    def _note(self, state: State, event: str, outcome: Outcome, what: dict[str, Any]) -> None:
        detail = outcome.detail[:500] if outcome.code else ""
        state.events.append({"event": event, "code": outcome.code, "detail": detail, "about": what, "probation": {}})


def _code(error: OSError) -> str:
    """Of what the disk says.

    Raises:
        OSError: The state folder cannot be used at all.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    raise error


def _drift(folder: Path) -> dict[str, Any]:
    if not (folder / "drift.json").exists():
        return {}
    from edge_agent.drift import Sketch  # here: it needs numpy, and what is idle does not

    try:
        drift: dict[str, Any] = Sketch(folder).take()
    except OSError as error:  # the sums stay where they are, and the report goes without them
        _log.warning("no sums are reported: %s", error)
        return {}
    return drift


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(f"another agent is at work in {folder}: wait for it, or end it") from error
        yield
