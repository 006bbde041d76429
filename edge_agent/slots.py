"""Two places for a model and a link that says which one is in use. The link changes in one step, or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from edge_agent.contract import wire
from edge_agent.failpoints import reach
from edge_agent.state import sync, write_atomic

UNTRIED: Final = "untried"
"""A mark beside a model that never passed its probation: nobody goes back to that one."""


class Slot:
    """A model, and what was signed about it.

    Raises:
        WireError: There is none in the folder, or nothing that makes sense.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.onnx = folder / "model.onnx"
        try:
            value = json.loads((folder / "release.json").read_bytes())
            self.release = wire.release_from(value["release"])
            self.card = wire.sheet_from(value["card"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise wire.WireError(f"{folder} holds no model: {error}") from error

    @property
    def whole(self) -> bool:
        """Whether the file is, byte for byte, the one that was signed."""
        try:
            return sha256_of(self.onnx) == self.card.sha256
        except OSError:
            return False


class Slots:
    """slots/a, slots/b and the link `current`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.link = state / "current"

    def current(self) -> Slot | None:
        """The one in use."""
        return _slot(self.link.resolve()) if self.link.is_symlink() else None

    def other(self) -> Path:
        """The folder that is not in use."""
        return self.state / "slots" / ("b" if self.link.is_symlink() and self.link.readlink().name == "a" else "a")

    def spare(self) -> Slot | None:
        """What the folder that is not in use holds: mostly the model before the one in use."""
        return _slot(self.other())

    def fill(self, part: Path, release: wire.Release, card: wire.ModelCard) -> None:
        """Put a file and what was signed about it into the folder that is not in use.

        Raises:
            OSError: The disk does not take it.
        """
        self.clear()
        reach("cleared")
        folder = self.other()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNTRIED).touch()
        part.replace(folder / "model.onnx")
        reach("moved")
        describe(folder, release, card)
        sync(folder.parent)

    def clear(self) -> None:
        """Empty the folder that is not in use; the description first, so that half a slot is none."""
        for name in ("release.json", "model.onnx", UNTRIED):
            (self.other() / name).unlink(missing_ok=True)

    def flip(self) -> None:
        """The other one, which is tried, is in use from now on.

        Raises:
            OSError: The link cannot be written; nothing has changed.
        """
        new = self.link.with_name(".current.new")
        new.unlink(missing_ok=True)
        (self.other() / UNTRIED).unlink(missing_ok=True)
        reach("flip")
        new.symlink_to(Path("slots") / self.other().name)
        new.replace(self.link)
        sync(self.state)

    def revert(self) -> bool:
        """Back to the other one, if it holds a whole model that was in use before; says whether it did."""
        spare = self.spare()
        if spare is None or not spare.whole or (spare.folder / UNTRIED).exists():
            return False
        self.flip()
        return True


def describe(folder: Path, release: wire.Release, card: wire.ModelCard) -> None:
    """Write what was signed about the model of a slot.

    Raises:
        OSError: The disk does not take it.
    """
    value = {"release": asdict(release), "card": asdict(card)}
    write_atomic(folder / "release.json", wire.canonical(value))


def sha256_of(path: Path) -> str:
    """Of a file, read from the disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _slot(folder: Path) -> Slot | None:
    try:
        return Slot(folder)
    except wire.WireError:
        return None
