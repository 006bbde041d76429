"""What the fleet offers: python-tuf decides what is genuine and fresh; here, what it leaves to the device.

Its clock is the weak point: with a clock set back, old metadata is fresh for ever. So there is a floor in time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tuf.api import exceptions
from tuf.ngclient import TargetFile, Updater, UpdaterConfig

from edge_agent.choose import Offer
from edge_agent.contract import wire
from edge_agent.errors import AgentError
from edge_agent.fetch import Source
from edge_agent.state import sync, write_atomic

BUILT: Final = "2026-11-01T00:00:00Z"
"""No clock that is right says less."""
SLACK_S: Final = 300
"""A clock may be this much behind the one that signs."""
FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
MAX_SHEETS: Final = 32 << 20
"""Bytes of a release.json."""
ROOTS: Final = 64
"""New roots that one look follows; those that are known already do not count."""
_CODES: Final = (
    (exceptions.UnsignedMetadataError, "bad_signature"), (exceptions.ExpiredMetadataError, "expired"),
    (exceptions.LengthOrHashMismatchError, "tampered"), (exceptions.DownloadLengthMismatchError, "endless_data"),
    (exceptions.SlowRetrievalError, "slow_data"), (exceptions.DownloadError, "unreachable"),
    (exceptions.RepositoryError, "bad_metadata"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, as a device sees it."""

    source: Source
    url: str
    root: bytes
    """The first root of trust: came with the device, not over the network."""
    state: Path


class Updates:
    """One look at a repository.

    Raises:
        AgentError: clock_behind, where nothing was asked; or what is wrong with the answer.
        OSError: The state folder cannot be written.
    """

    def __init__(self, place: Place, floor: str, now: float) -> None:
        floor = max(floor, BUILT)
        if now + SLACK_S < seconds(floor):
            raise AgentError("clock_behind", f"the clock says {stamp(now)}, and it is {floor} at least: set the clock")
        self.place = place
        folder = place.state / "metadata"
        folder.mkdir(parents=True, exist_ok=True)
        known = len(list(folder.glob("root_history/*.root.json")))  # python-tuf counts from the first root on
        with refusals(place.source):
            self.tuf = Updater(str(folder), f"{place.url}/metadata/", fetcher=place.source, bootstrap=place.root,
                               config=UpdaterConfig(max_root_rotations=known + ROOTS))
            self.tuf.refresh()
        # The device's own clock does not go into the floor: set forward once, by mistake or by a forged time server,
        # it would lock the device out for ever. Only what was signed does, and only when the clock agrees with it: so
        # nobody who steals the timestamp key can lock devices out either.
        self.issued = _issued(folder / "timestamp.json")
        if seconds(self.issued) > now + SLACK_S:
            raise AgentError("clock_behind", f"the clock says {stamp(now)}; metadata is of {self.issued}: set it")
        if self.issued < floor:
            raise AgentError("replayed", f"metadata was issued at {self.issued}, before what was seen: {floor}")
        if self.issued != floor:
            for path in (*folder.rglob("*"), folder):  # python-tuf does not: a power cut could leave empty files
                sync(path)

    def offers(self, target: str, model: str) -> tuple[Offer, ...]:
        """What is listed for a model; nothing was downloaded for it but, when it changed, release.json.

        Raises:
            AgentError: bad_release, or what is wrong with the metadata.
            OSError: The state folder cannot be written.
        """
        with refusals(self.place.source):
            listed = self.tuf.get_targetinfo(wire.release_path(target, model))
            if listed is None:
                return ()
            cards = wire.cards_from(self._content(listed), target, model)
            offers = [self._offer(card) for card in cards]
        return tuple(offer for offer in offers if offer is not None)

    def _offer(self, card: wire.ModelCard) -> Offer | None:
        target = self.tuf.get_targetinfo(card.onnx)
        if target is None:
            return None
        if target.hashes.get("sha256") != card.sha256 or target.length < 1:
            raise AgentError("bad_release", f"{card.onnx} is not what its name says")
        return Offer(wire.release_from(target.unrecognized_fields.get("custom")), card, target.length)

    def _content(self, target: TargetFile) -> bytes:
        kept, sha256 = self.place.state / "releases.json", wire.check_sha256(target.hashes.get("sha256", ""))
        try:
            content = kept.read_bytes()
            target.verify_length_and_hashes(content)
        except (OSError, exceptions.LengthOrHashMismatchError):
            if target.length > MAX_SHEETS:
                raise AgentError("bad_release", f"{target.path} has {target.length} bytes") from None
            content = self.place.source.download_bytes(self.url_of(target.path, sha256), target.length)
            target.verify_length_and_hashes(content)
            write_atomic(kept, content)
        return content

    def url_of(self, path: str, sha256: str) -> str:
        """Where a target is: consistent snapshots put the hash before the name."""
        folder, _, name = path.rpartition("/")
        return f"{self.place.url}/targets/{folder}/{sha256}.{name}"


@contextmanager
def refusals(source: Source) -> Iterator[None]:
    """What python-tuf and the disk say, in the words of the wire.

    Raises:
        AgentError: In place of what was raised.
    """
    try:
        yield
    except exceptions.BadVersionNumberError as error:
        # A timestamp or root below the known one is an old one; any other file of another version than the one that
        # the timestamp leads to is of another point in time.
        old = source.last == "timestamp.json" or source.last.endswith(".root.json")
        raise AgentError("replayed" if old else "mixed", f"{source.last}: {error}") from error
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        raise AgentError(code, f"{source.last}: {error}"[:300]) from error
    except wire.WireError as error:
        raise AgentError("bad_release", str(error)[:300]) from error


def _issued(path: Path) -> str:
    """Of a timestamp.json that python-tuf has accepted.

    Raises:
        AgentError: bad_metadata: it does not say.
    """
    issued = json.loads(path.read_bytes())["signed"].get("issued")
    try:
        seconds(issued)
    except (ValueError, TypeError) as error:
        raise AgentError("bad_metadata", f"timestamp.json was issued at {issued!r:.40}, which is no time") from error
    return str(issued)


def seconds(text: str) -> float:
    """Since 1970, of 2026-11-24T17:00:00Z.

    Raises:
        ValueError: It is not written like this; texts of exactly this form sort as the times do.
        TypeError: It is no text.
    """
    moment = datetime.strptime(text, FORMAT).replace(tzinfo=UTC)
    if moment.strftime(FORMAT) != text:  # 2026-9-1 is later than 2026-11-01, as a text, and so are digits of elsewhere
        raise ValueError(f"{text!r:.60} is not of the form 2026-11-24T17:00:00Z")
    return moment.timestamp()


def stamp(now: float) -> str:
    """The text of a time in seconds."""
    return datetime.fromtimestamp(now, UTC).strftime(FORMAT)
