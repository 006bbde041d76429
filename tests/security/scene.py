"""A repository, a device that runs the old model of it, and the outcomes of its checks."""

from __future__ import annotations

import copy
import datetime as datetimes
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.ngclient._internal import trusted_metadata_set

from edge_agent.agent import Agent, UpdateOutcome
from edge_agent.state import load
from tests.security.device import copy_of, in_use, reports, set_up
from tests.security.tuf_repository import Row, TufRepository, row, tiny_onnx

OLD, NEW = row(tiny_onnx(1), 1), row(tiny_onnx(2, padding=200_000), 2)


class Scene:
    """A repository and a device that runs the old model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = TufRepository(folder / "repository")
        self.state = set_up(folder / "device", self.repository)
        self.repository.publish([OLD])
        assert self.once().event == "installed"

    def once(self, url: str = "", clock: float = 0) -> UpdateOutcome:
        return Agent(self.state, clock=lambda: time.time() + clock).once(url)

    def configure(self, **changes: Any) -> None:
        path = self.state / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    def refuses(self, code: str, url: str = "", clock: float = 0) -> None:
        outcome = self.once(url, clock)
        assert outcome.code == code, outcome
        assert outcome.status in (3, 4)
        assert in_use(self.state) == OLD.sha256
        if code != "unreachable":
            assert (reports(self.state)[-1]["code"], reports(self.state)[-1]["sha256"]) == (code, OLD.sha256)

    def accepts(self, url: str = "") -> None:
        """Publishes new metadata without a new release for the device."""
        outcome = self.once(url)
        assert (outcome.event, outcome.code) == ("current", ""), outcome
        assert self.trusted("timestamp") == self.repository.version
        assert in_use(self.state) == OLD.sha256

    def adopts(self, counter: int) -> None:
        """Returns the old model with another counter: it shows which list was accepted, without a download."""
        outcome = self.once()
        assert (outcome.event, outcome.code) == ("installed", ""), outcome
        memory = load(self.state)
        assert memory is not None
        assert memory.counter == counter
        assert in_use(self.state) == OLD.sha256

    def trusted(self, role: str) -> int:
        """Returns the version of the metadata in the cache of the device."""
        version: int = json.loads((self.state / f"metadata/{role}.json").read_bytes())["signed"]["version"]
        return version

    def installs(self, wanted: Row = NEW, url: str = "") -> None:
        outcome = self.once(url)
        assert outcome.event == "installed", outcome
        assert in_use(self.state) == wanted.sha256

    def again(self, folder: Path) -> Scene:
        """Copies repository and device to another folder."""
        scene = copy.copy(self)
        scene.folder, scene.repository = folder, copy.deepcopy(self.repository)
        scene.repository.folder = folder / "repository"
        shutil.copytree(self.repository.folder, scene.repository.folder)
        scene.state = copy_of(self.state, folder / "device")
        scene.configure(url=str(scene.repository.folder))
        return scene

    def file_of(self, role: str) -> Path:
        """Returns a version of the newest metadata in the repository."""
        name = role if role == "timestamp" else f"{self.repository.version}.{role}"
        return self.metadata / f"{name}.json"

    @property
    def metadata(self) -> Path:
        return self.repository.folder / "metadata"


@contextmanager
def clock_of_tuf(offset_s: float) -> Iterator[None]:
    """Shifts the system time that python-tuf reads."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Shifted:
            return super().now(tz) + timedelta(seconds=offset_s)

    class Module:
        datetime, timezone = Shifted, datetimes.timezone

    trusted_metadata_set.datetime = Module
    try:
        yield
    finally:
        trusted_metadata_set.datetime = datetimes
