"""A model's list of releases, as it is signed: targets of its target's role. Reading it, making it, and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile, Targets

from edge_agent.contract import wire
from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.releases import ReleaseEntry as Row
from nas_pipeline.fleet.tuf.releases import ReleaseList
from nas_pipeline.fleet.tuf.roles import target_name
from nas_pipeline.fleet.tuf.store import Store

_CHANGE = "change"
"""In `custom` of release.json: key of the change that made this list."""


def models_of(target: str, targets: Targets) -> list[str]:
    """Models that the target has a list for."""
    parts = [path.split("/") for path in targets.targets]
    return sorted(model for found, model, name in parts if found == target and name == wire.RELEASE_FILE)


def change_of(target: str, model: str, targets: Targets) -> str:
    """Key of the change that made the list; empty where there is no list."""
    listed = targets.targets.get(wire.release_path(target, model))
    return str((listed.custom or {}).get(_CHANGE, "")) if listed else ""


def read_rows(store: Store, target: str, model: str, targets: Targets) -> ReleaseList:
    """The list, highest counter first; empty where there is none.

    Raises:
        FleetError: A file is missing or is not the one that was signed, or what was signed makes no sense.
    """
    path = wire.release_path(target, model)
    listed = targets.targets.get(path)
    if listed is None:
        return ()
    content = read_target(store, listed)
    try:
        rows = [
            Row(wire.release_from(targets.targets[card.onnx].custom), card)
            for card in wire.cards_from(content, target, model)
        ]
    except KeyError as error:
        raise FleetError(f"{path} speaks of {error}, which is not signed") from error
    except wire.WireError as error:
        raise FleetError(f"{path}: {error}") from error
    return tuple(sorted(rows, key=lambda row: -row.release.counter))


def read_target(store: Store, listed: TargetFile) -> bytes:
    """A signed file.

    Raises:
        FleetError: It is missing, or not the one that was signed.
    """
    name = target_name(listed.path, listed.hashes["sha256"])
    content = store.read(name)
    if content is None:
        raise FleetError(f"{name} is missing in the store: restore it from a copy")
    try:
        listed.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise FleetError(f"{name} in the store is not the file that was signed: restore it ({error})") from error
    return content


def write_rows(
    store: Store, target: str, model: str, targets: Targets, rows: ReleaseList, files: Mapping[str, bytes], *,
    issued: str,
    change: str,
) -> dict[str, bytes]:
    """Put the list in place of the one in `targets`; returns the files to write: name in the store -> content.

    Args:
        store: Has the model files that are not in `files`.
        target: Whose list.
        model: Of which model.
        targets: The target's role; changed.
        rows: The list.
        files: Target path -> model file, of the new ones.
        issued: Goes into release.json.
        change: Key of the change, for whoever repairs after a crash.

    Raises:
        FleetError: A model file is not there, or is not what its name says.
    """
    new: dict[str, bytes] = {}
    made: dict[str, TargetFile] = {}
    for row in rows:
        path = row.card.onnx
        content = files.get(path)
        if content is None:
            content = store.read(target_name(path, row.sha256))
            if content is None:
                raise FleetError(f"{path} is neither among the new files nor in the store: publish the version again")
        target_file = TargetFile.from_data(path, content, ["sha256"])
        if target_file.hashes["sha256"] != row.sha256:
            raise FleetError(f"{path} is not what its name says: its sha256 is {target_file.hashes['sha256']}")
        target_file.unrecognized_fields["custom"] = wire.custom_of(row.release)
        made[path] = target_file
        if path in files:
            new[target_name(path, row.sha256)] = content
    listing = wire.releases_to(model, target, issued, tuple(row.card for row in rows))
    target_file = TargetFile.from_data(wire.release_path(target, model), listing, ["sha256"])
    target_file.unrecognized_fields["custom"] = {_CHANGE: change}
    made[target_file.path] = target_file
    new[target_name(target_file.path, target_file.hashes["sha256"])] = listing
    kept = {path: each for path, each in targets.targets.items() if not path.startswith(f"{target}/{model}/")}
    targets.targets = kept | made
    return new


def see_that_it_follows(target: str, model: str, now: ReleaseList, rows: ReleaseList, highest: int) -> None:
    """See that `rows` may come after `now`: what is new has a counter above all before, what stays only widens.

    Raises:
        FleetError: They may not; somebody else was faster, or a release is of another model.
    """
    before = {row.release.counter: row for row in now}
    for row in rows:
        release, card = row.release, row.card
        try:
            wire.release_from(wire.custom_of(release))
            right = (card.onnx == wire.onnx_path(target, model, row.sha256) and release.model == model
                     and release.counter == card.counter and release.golden == card.golden.sha256)
        except wire.WireError as error:
            raise FleetError(f"release {release.counter} of {target}/{model:.120}: {error}") from error
        if not right:
            raise FleetError(f"release {release.counter} is not of {target}/{model}, or its parts do not fit together")
        old = before.get(release.counter)
        if old is None and release.counter <= highest:
            raise FleetError(f"release {release.counter} of {model} is not above {highest}, which was taken meanwhile: "
                             "run the command again")
        if old is not None and (card != old.card or replace(release, wave=old.release.wave) != old.release
                                or release.wave.share < old.release.wave.share):
            raise FleetError(f"release {release.counter} of {model} is published: only its wave may grow; whatever "
                             "else changes takes a new counter")


def key_of(kind: str, target: str, model: str, rows: ReleaseList) -> str:
    """The same change has the same key."""
    listed = [[wire.custom_of(row.release), row.card.onnx] for row in rows]
    return sha256_text(canonical_json([kind, target, model, listed]))
