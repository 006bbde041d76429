"""A fleet in a folder, releases of toy files, and a plain python-tuf client, for the tests of signing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from edge_agent.contract import wire
from nas_pipeline.fleet.tuf.create_fleet import create_fleet
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList, added, next_counter
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings

TARGET, MODEL = "pi", "toy--pi"


@dataclass
class Clock:
    """A clock that a test sets. It starts at the current time, which python-tuf's client uses."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += timedelta(**step)


def settings_of(folder: Path, **more: Any) -> FleetSettings:
    return FleetSettings(**{
        "store": str(folder / "store"), "folder": folder / "fleet", "keys": folder / "fleet" / "keys",
        "target_names": (TARGET, "nano"), **more,
    })


def new_fleet(folder: Path, **more: Any) -> Repository:
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    return create_fleet(settings_of(folder, **more), who="alice", clock=clock).repository


def row_of(
    content: bytes, counter: int, *, target: str = TARGET, model: str = MODEL, share: int = 10_000
) -> ReleaseEntry:
    """Returns a release of `content` for `share` of the fleet, in 1/10,000."""
    sha256 = hashlib.sha256(content).hexdigest()
    golden = wire.Golden(1, base64.b64encode(bytes(4)).decode(), base64.b64encode(bytes(8)).decode(), 0.01, 1.0)
    shares = (10_000,) if share == 10_000 else (share, 10_000)
    release = wire.Release(
        schema=1, model=model, version=str(counter), bundle="ab" * 32, counter=counter, hardware=(target,),
        ort=("1.20", "2"), opset=20, min_agent="0.1.0", memory_mb=64.5, latency_ms=1.25, threads=1,
        golden=golden.sha256, wave=wire.Wave("00" * 8, shares, 0),
    )
    card = wire.ModelCard(
        counter=counter, onnx=f"{target}/{model}/{sha256}.onnx", channels=1, height=2, width=2, class_names=("a", "b"),
        mean=(0.5,), std=(0.5,), golden=golden, evidence={},
    )
    return ReleaseEntry(release, card)


def entry_of(row: ReleaseEntry, kind: str = "published", **more: Any) -> JournalEntry:
    return replace(
        JournalEntry(kind=kind, when="2026-05-01T00:00:00Z", who="alice", version=row.release.version,
              counter=row.release.counter, sha256=row.sha256, share=row.release.wave.share), **more,
    )


def sign_list(
    repository: Repository, target: str, model: str, release_list: ReleaseList, *, entry: JournalEntry,
    files: Mapping[str, bytes] | None = None,
) -> bool:
    """Signs a release list in a separate edit; returns whether it is live."""
    with repository.edit(target, model) as edit:
        return edit.sign(release_list, entry, files=files)


def publish(repository: Repository, content: bytes, *, share: int = 10_000, **more: Any) -> ReleaseEntry:
    """Publishes `content` above the published releases, as `publish` of the product does."""
    with repository.edit(TARGET, MODEL) as edit:
        new = row_of(content, next_counter(edit.release_list, edit.highest_counter), share=share)
        edit.sign(added(edit.release_list, new), entry_of(new, **more), files={new.card.onnx: content})
    return new


class Files(FetcherInterface):
    """Fetches from a folder that stands for a web server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _fetch(self, url: str) -> Any:
        path = self.folder / urlsplit(url).path.lstrip("/")
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        yield path.read_bytes()


@dataclass
class Client:
    """A plain python-tuf client with its own state."""

    store: Path
    state: Path
    root: bytes

    def look(self) -> dict[int, bytes]:
        """Refreshes once; returns counter -> model file of every listed release, verified."""
        self.state.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            str(self.state), "http://fleet/metadata/", str(self.state), "http://fleet/targets/",
            fetcher=Files(self.store), bootstrap=self.root,
        )
        updater.refresh()
        listed = updater.get_targetinfo(wire.release_path(TARGET, MODEL))
        if listed is None:
            return {}
        cards = wire.cards_from(Path(updater.download_target(listed)).read_bytes(), TARGET, MODEL)
        files: dict[int, bytes] = {}
        for card in cards:
            target = updater.get_targetinfo(card.onnx)
            assert target is not None
            release = wire.release_from(target.custom)
            assert release.counter == card.counter
            assert release.golden == card.golden.sha256
            files[release.counter] = Path(updater.download_target(target)).read_bytes()
        return files


def client_of(repository: Repository, state: Path) -> Client:
    return Client(Path(repository.settings.store), state, (Path(repository.settings.folder) / "root.json").read_bytes())
