"""Reads a model's release list from the signed targets of a role, and identifies changes of it.

A list is a signed file `TARGET/MODEL/release.json` with one model card per release; the decision of a release (counter,
wave, hardware) is in the `custom` field of its signed model file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets

from edge_agent.contract import wire
from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList
from nas_pipeline.fleet.tuf.roles import target_name
from nas_pipeline.fleet.tuf.store import Store

CHANGE_FIELD = "change"
"""Field in `custom` of release.json: the key of the change that made the list."""


def models_of(target: str, targets: Targets) -> list[str]:
    """Returns the models that have a release list in the role of `target`."""
    parts = [path.split("/") for path in targets.targets]
    return sorted(model for owner, model, name in parts if owner == target and name == wire.RELEASE_FILE)


def published_change(target: str, model: str, targets: Targets) -> str:
    """Returns the key of the change that made the list; empty if there is no list."""
    file = targets.targets.get(wire.release_path(target, model))
    return str((file.custom or {}).get(CHANGE_FIELD, "")) if file else ""


def change_key(kind: str, target: str, model: str, release_list: ReleaseList) -> str:
    """Returns a digest of a change: the same change of the same model has the same key."""
    releases = [[wire.custom_of(row.release), row.card.onnx] for row in release_list]
    return sha256_text(canonical_json([kind, target, model, releases]))


def highest_counter(release_list: ReleaseList, entries: Iterable[JournalEntry]) -> int:
    """Returns the highest counter in a model's list and its journal entries; 0 if there is none."""
    return max([0, *(row.release.counter for row in release_list), *(entry.counter for entry in entries)])


def read_release_list(
    store: Store, delegated: Mapping[str, Metadata[Targets]], target: str, model: str
) -> ReleaseList:
    """Reads and verifies a release list; empty if the model has none.

    Args:
        store: Where the files are.
        delegated: Target -> its role, verified.
        target: The target of the list.
        model: The registered model.

    Returns:
        The releases, highest counter first.

    Raises:
        FleetError: There is no such target, or a file is missing, differs from the signed one or is malformed.
    """
    if target not in delegated:
        names = ", ".join(sorted(delegated)) or "none"
        raise FleetError(f"the fleet has no target {target!r:.120} (targets: {names})")
    signed, path = delegated[target].signed.targets, wire.release_path(target, model)
    if path not in signed:
        return ()
    try:
        cards = wire.cards_from(read_target_file(store, signed[path]), target, model)
        entries = [ReleaseEntry(wire.release_from(signed[card.onnx].custom), card) for card in cards]
    except KeyError as error:
        raise FleetError(f"{path} lists {error}, which is not signed") from error
    except wire.WireError as error:
        raise FleetError(f"{path}: {error}") from error
    return tuple(sorted(entries, key=lambda entry: -entry.release.counter))


def read_target_file(store: Store, file: TargetFile) -> bytes:
    """Reads a signed file and verifies its length and hash.

    Raises:
        FleetError: It is missing, or it differs from the signed one.
    """
    name = target_name(file.path, file.hashes["sha256"])
    content = store.read(name)
    if content is None:
        raise FleetError(f"{name} is missing in the store: restore it from a copy")
    try:
        file.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise FleetError(f"{name} in the store differs from the signed file: restore it ({error})") from error
    return content
