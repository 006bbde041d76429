"""Two slots for a model and a link to the one in use. The link is replaced atomically."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from edge_agent.contract import wire
from edge_agent.disk import reach, sync, write_atomic

UNTRIED: Final = "untried"
"""Marker file beside a model that has not passed its probation; the agent never reverts to such a model."""


class Slot:
    """A model file with its signed release and its model card.

    Raises:
        WireError: The folder holds no valid description of a model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.onnx = folder / "model.onnx"
        try:
            value = json.loads((folder / "release.json").read_bytes())
            self.release = wire.release_from(value["release"])
            self.card = wire.card_from(value["card"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise wire.WireError(f"{folder} holds no valid model: {error}") from error

    @property
    def whole(self) -> bool:
        """Whether the sha256 of the file is the signed one."""
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
        """Returns the slot in use."""
        return _slot(self.link.resolve()) if self.link.is_symlink() else None

    def spare_folder(self) -> Path:
        """Returns the folder of the slot that is not in use."""
        return self.state / "slots" / ("b" if self.link.is_symlink() and self.link.readlink().name == "a" else "a")

    def spare(self) -> Slot | None:
        """Returns the slot that is not in use; usually it holds the previous model."""
        return _slot(self.spare_folder())

    def fill(self, part: Path, release: wire.Release, card: wire.ModelCard) -> None:
        """Moves a model file into the slot that is not in use, and writes its description.

        Raises:
            OSError: The slot cannot be written.
        """
        self.clear()
        reach("cleared")
        folder = self.spare_folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNTRIED).touch()
        part.replace(folder / "model.onnx")
        reach("moved")
        describe(folder, release, card)
        sync(folder.parent)

    def clear(self) -> None:
        """Empties the slot that is not in use; the description goes first, so that a partial slot is invalid."""
        for name in ("release.json", "model.onnx", UNTRIED):
            (self.spare_folder() / name).unlink(missing_ok=True)

    def flip(self) -> None:
        """Puts the slot that is not in use, whose model passed its probation, into use.

        Raises:
            OSError: The link cannot be written; it is unchanged.
        """
        new = self.link.with_name(".current.new")
        new.unlink(missing_ok=True)
        (self.spare_folder() / UNTRIED).unlink(missing_ok=True)
        reach("flip")
        new.symlink_to(Path("slots") / self.spare_folder().name)
        new.replace(self.link)
        sync(self.state)

    def revert(self) -> bool:
        """Puts the previous model into use again if it is intact and was in use before; returns whether it did."""
        spare = self.spare()
        if spare is None or not spare.whole or (spare.folder / UNTRIED).exists():
            return False
        self.flip()
        return True


def describe(folder: Path, release: wire.Release, card: wire.ModelCard) -> None:
    """Writes release.json of a slot: the signed release and the model card.

    Raises:
        OSError: It cannot be written.
    """
    value = {"release": asdict(release), "card": asdict(card)}
    write_atomic(folder / "release.json", wire.canonical(value))


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, read from the disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _slot(folder: Path) -> Slot | None:
    try:
        return Slot(folder)
    except wire.WireError:
        return None
