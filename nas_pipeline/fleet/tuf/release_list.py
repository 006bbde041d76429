"""A model's list of releases, as it is signed: targets of its family's role. Reading it, making it, and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile, Targets

from edge_agent.contract import wire
from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.releases import Listed as Row
from nas_pipeline.fleet.tuf.releases import Rows
from nas_pipeline.fleet.tuf.roles import target_name
from nas_pipeline.fleet.tuf.store import Store

_CHANGE = "change"
"""In `custom` of release.json: key of the change that made this list."""


def models_of(family: str, targets: Targets) -> list[str]:
    """Models that the family has a list for."""
    parts = [path.split("/") for path in targets.targets]
    return sorted(model for found, model, name in parts if found == family and name == wire.RELEASE_FILE)


def change_of(family: str, model: str, targets: Targets) -> str:
    """Key of the change that made the list; empty where there is no list."""
    listed = targets.targets.get(wire.release_path(family, model))
    return str((listed.custom or {}).get(_CHANGE, "")) if listed else ""


def read_rows(store: Store, family: str, model: str, targets: Targets) -> Rows:
    """The list, highest counter first; empty where there is none.

    Raises:
        FleetError: A file is missing or is not the one that was signed, or what was signed makes no sense.
    """
    path = wire.release_path(family, model)
    listed = targets.targets.get(path)
    if listed is None:
        return ()
    content = read_target(store, listed)
    try:
        rows = [
            Row(wire.release_from(targets.targets[sheet.onnx].custom), sheet)
            for sheet in wire.sheets_from(content, family, model)
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
    store: Store, family: str, model: str, targets: Targets, rows: Rows, files: Mapping[str, bytes], *, issued: str,
    change: str,
) -> dict[str, bytes]:
    """Put the list in place of the one in `targets`; returns the files to write: name in the store -> content.

    Args:
        store: Has the model files that are not in `files`.
        family: Whose list.
        model: Of which model.
        targets: The family's role; changed.
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
        path = row.sheet.onnx
        content = files.get(path)
        if content is None:
            content = store.read(target_name(path, row.sha256))
            if content is None:
                raise FleetError(f"{path} is neither among the new files nor in the store: publish the version again")
        target = TargetFile.from_data(path, content, ["sha256"])
        if target.hashes["sha256"] != row.sha256:
            raise FleetError(f"{path} is not what its name says: its sha256 is {target.hashes['sha256']}")
        target.unrecognized_fields["custom"] = wire.custom_of(row.release)
        made[path] = target
        if path in files:
            new[target_name(path, row.sha256)] = content
    listing = wire.releases_to(model, family, issued, tuple(row.sheet for row in rows))
    target = TargetFile.from_data(wire.release_path(family, model), listing, ["sha256"])
    target.unrecognized_fields["custom"] = {_CHANGE: change}
    made[target.path] = target
    new[target_name(target.path, target.hashes["sha256"])] = listing
    kept = {path: each for path, each in targets.targets.items() if not path.startswith(f"{family}/{model}/")}
    targets.targets = kept | made
    return new


def see_that_it_follows(family: str, model: str, now: Rows, rows: Rows, highest: int) -> None:
    """See that `rows` may come after `now`: what is new has a counter above all before, what stays only widens.

    Raises:
        FleetError: They may not; somebody else was faster, or a release is of another model.
    """
    before = {row.release.counter: row for row in now}
    for row in rows:
        release, sheet = row.release, row.sheet
        try:
            wire.release_from(wire.custom_of(release))
            right = (sheet.onnx == wire.onnx_path(family, model, row.sha256) and release.model == model
                     and release.counter == sheet.counter and release.golden == sheet.golden.sha256)
        except wire.WireError as error:
            raise FleetError(f"release {release.counter} of {family}/{model:.120}: {error}") from error
        if not right:
            raise FleetError(f"release {release.counter} is not of {family}/{model}, or its parts do not fit together")
        old = before.get(release.counter)
        if old is None and release.counter <= highest:
            raise FleetError(f"release {release.counter} of {model} is not above {highest}, which was taken meanwhile: "
                             "run the command again")
        if old is not None and (sheet != old.sheet or replace(release, wave=old.release.wave) != old.release
                                or release.wave.share < old.release.wave.share):
            raise FleetError(f"release {release.counter} of {model} is published: only its wave may grow; whatever "
                             "else changes takes a new counter")


def key_of(kind: str, family: str, model: str, rows: Rows) -> str:
    """The same change has the same key."""
    listed = [[wire.custom_of(row.release), row.sheet.onnx] for row in rows]
    return sha256_text(canonical_json([kind, family, model, listed]))
