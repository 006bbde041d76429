"""Verified releases of the repository: python-tuf verifies signatures, versions and expiry.

Expiry depends on the clock of the device: with a clock set back, expired metadata looks valid. So this module adds a
lower bound for the time at which metadata was issued.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tuf.api import exceptions
from tuf.ngclient import TargetFile, Updater, UpdaterConfig

from edge_agent.choose import Offer
from edge_agent.contract import wire
from edge_agent.disk import sync, write_atomic
from edge_agent.errors import AgentError
from edge_agent.fetch import Fetcher

BUILT: Final = "2026-11-01T00:00:00Z"
"""No correct clock is before this time."""
SLACK_S: Final = 300
"""How far the clock may be behind the clock of the signer."""
FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
MAX_LIST_BYTES: Final = 32 << 20
"""Size of a release.json."""
MAX_ROOTS: Final = 64
"""New root versions that one check follows; versions in the cache do not count."""
_CODES: Final = (
    (exceptions.UnsignedMetadataError, "bad_signature"), (exceptions.ExpiredMetadataError, "expired"),
    (exceptions.LengthOrHashMismatchError, "tampered"), (exceptions.DownloadLengthMismatchError, "endless_data"),
    (exceptions.SlowRetrievalError, "slow_data"), (exceptions.DownloadError, "unreachable"),
    (exceptions.RepositoryError, "bad_metadata"),
)


class Updates:
    """Refreshes the metadata of a repository, and lists releases.

    Args:
        source: Reads from `url`.
        url: The repository, without a slash at the end.
        state: The state folder; it holds the first root.json, which came with the device and not over the network.
        floor: Time before which no metadata is accepted, as text.
        now: Time of the device, in seconds since 1970.

    Raises:
        AgentError: clock_behind (nothing was requested), or what is wrong with the metadata.
        OSError: The state folder cannot be written.
    """

    def __init__(self, source: Fetcher, url: str, state: Path, *, floor: str, now: float) -> None:
        floor = max(floor, BUILT)
        if now + SLACK_S < seconds(floor):
            raise AgentError("clock_behind", f"the clock shows {stamp(now)}, and {floor} has passed: set the clock")
        self._source, self._url, self._state = source, url, state
        folder = state / "metadata"
        folder.mkdir(parents=True, exist_ok=True)
        known = len(list(folder.glob("root_history/*.root.json")))  # python-tuf counts from the first root on
        with wire_codes(source):
            self._tuf = Updater(
                str(folder), f"{url}/metadata/", fetcher=source, bootstrap=(state / "root.json").read_bytes(),
                config=UpdaterConfig(max_root_rotations=known + MAX_ROOTS))
            self._tuf.refresh()
        # The clock of the device never raises the floor: set forward once, by mistake or by a forged time server, it
        # would lock the device out for good. Only a signed time does, and only if the clock agrees with it: so a thief
        # of the timestamp key cannot lock devices out either.
        self.issued = _issued(folder / "timestamp.json")
        if seconds(self.issued) > now + SLACK_S:
            raise AgentError("clock_behind", f"the clock shows {stamp(now)}, metadata is of {self.issued}: set it")
        if self.issued < floor:
            raise AgentError("replayed", f"metadata was issued at {self.issued}, earlier than accepted before: {floor}")
        if self.issued != floor:
            for path in (*folder.rglob("*"), folder):  # python-tuf does not fsync: a power cut could leave empty files
                sync(path)

    def offers(self, target: str, model: str) -> tuple[Offer, ...]:
        """Returns the listed releases of a model. At most release.json is downloaded, if it changed.

        Raises:
            AgentError: bad_release, or what is wrong with the metadata.
            OSError: The state folder cannot be written.
        """
        with wire_codes(self._source):
            listed = self._tuf.get_targetinfo(wire.release_path(target, model))
            if listed is None:
                return ()
            cards = wire.cards_from(self._content(listed), target, model)
            return tuple(offer for card in cards if (offer := self._offer(card)))

    def _offer(self, card: wire.ModelCard) -> Offer | None:
        target = self._tuf.get_targetinfo(card.onnx)
        if target is None:
            return None
        if target.hashes.get("sha256") != card.sha256 or target.length < 1:
            raise AgentError("bad_release", f"the signed hash of {card.onnx} is not the one in its name")
        return Offer(wire.release_from(target.unrecognized_fields.get("custom")), card, target.length)

    def _content(self, target: TargetFile) -> bytes:
        cache, sha256 = self._state / "releases.json", wire.check_sha256(target.hashes.get("sha256", ""))
        try:
            content = cache.read_bytes()
            target.verify_length_and_hashes(content)
        except (OSError, exceptions.LengthOrHashMismatchError):
            if target.length > MAX_LIST_BYTES:
                raise AgentError("bad_release", f"{target.path} has {target.length} bytes") from None
            content = self._source.download_bytes(self.url_of(target.path, sha256), target.length)
            target.verify_length_and_hashes(content)
            write_atomic(cache, content)
        return content

    def url_of(self, path: str, sha256: str) -> str:
        """Returns the URL of a target; consistent snapshots put the hash before the name."""
        folder, _, name = path.rpartition("/")
        return f"{self._url}/targets/{folder}/{sha256}.{name}"


@contextmanager
def wire_codes(source: Fetcher) -> Iterator[None]:
    """Converts errors of python-tuf, of downloads and of wire formats to codes of `wire.CODES`.

    Raises:
        AgentError: In place of the original error.
    """
    try:
        yield
    except exceptions.BadVersionNumberError as error:
        # A timestamp or root below the known version is an old one. Any other file of a version that the timestamp does
        # not name belongs to another state of the repository.
        replayed = source.last == "timestamp.json" or source.last.endswith(".root.json")
        raise AgentError("replayed" if replayed else "mixed", f"{source.last}: {error}") from error
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        raise AgentError(code, f"{source.last}: {error}"[:300]) from error
    except wire.WireError as error:
        raise AgentError("bad_release", str(error)[:300]) from error


def _issued(path: Path) -> str:
    """Returns the field `issued` of a timestamp.json that python-tuf has accepted.

    Raises:
        AgentError: bad_metadata: the field is missing or invalid.
    """
    issued = json.loads(path.read_bytes())["signed"].get("issued")
    try:
        seconds(issued)
    except (ValueError, TypeError) as error:
        raise AgentError("bad_metadata", f"timestamp.json: issued is {issued!r:.40}, not a time") from error
    return str(issued)


def seconds(text: str) -> float:
    """Converts a time such as 2026-11-24T17:00:00Z to seconds since 1970.

    Raises:
        ValueError: The text has another form. Only texts of exactly this form sort in the order of the times.
        TypeError: It is not a text.
    """
    moment = datetime.strptime(text, FORMAT).replace(tzinfo=UTC)
    if moment.strftime(FORMAT) != text:  # as a text, 2026-9-1 is above 2026-11-01, and so are non-ASCII digits
        raise ValueError(f"{text!r:.60} is not of the form 2026-11-24T17:00:00Z")
    return moment.timestamp()


def stamp(now: float) -> str:
    """Converts seconds since 1970 to text."""
    return datetime.fromtimestamp(now, UTC).strftime(FORMAT)
