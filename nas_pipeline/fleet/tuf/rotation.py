"""Replacement of keys, renewal of expiry dates, and restoration of the store.

Devices that were offline follow the chain of roots. Metadata that is signed with a new key is also signed with the old
one if that is available, and the new root is written last, so a device can verify the repository at any moment.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Snapshot, Targets

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import JournalEntry
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import TOP, Trusted, delegated_roles, metadata_name, read_trusted
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, stamp
from nas_pipeline.fleet.tuf.signing import APPROVER, Change


def rotate(repository: Repository, role: str, *, who: str, why: str = "", old: str | None = None) -> Key:
    """Replaces a key of a role, and signs the metadata of the role again.

    Args:
        repository: The fleet's repository.
        role: root, targets, snapshot, timestamp, a target, or TARGET.approver.
        who: Author, for the journal.
        why: Reason, for the journal.
        old: Id of the replaced key. Default: the only one, or the oldest one of root.

    Raises:
        FleetError: There is no such role or key, or a required key is not available. Nothing was changed.
    """
    with repository.locked():
        entry = JournalEntry(kind="rotated", when=stamp(repository.clock()), who=who, why=why)
        return _rotate(repository, role, old, entry)


def revoke(repository: Repository, keyid: str, *, who: str, why: str = "") -> tuple[str, Key]:
    """Replaces a key by a new one; returns its role and the new key.

    Args:
        repository: The fleet's repository.
        keyid: Id of the key, or the beginning of it.
        who: Author, for the journal.
        why: Reason, for the journal.

    Raises:
        FleetError: The id matches no active key or several, or a required key is not available.
    """
    with repository.locked():
        trusted = repository.recover()
        matches = {key: role for role, keyids in signing_keys(trusted).items() for key in keyids
                   if key.startswith(keyid)}
        if len(matches) != 1 or not keyid:
            raise FleetError(f"{len(matches)} active keys begin with {keyid!r:.70}: `nas fleet status` lists them")
        (old, role), = matches.items()
        if repository.keys.role_of(old).endswith(APPROVER):
            role += APPROVER
        entry = JournalEntry(kind="revoked", when=stamp(repository.clock()), who=who, why=why)
        return role, _rotate(repository, role, old, entry)


def resign(repository: Repository, *, who: str) -> list[str]:
    """Renews the timestamp, and other metadata past half of its lifetime if its keys are available; returns the roles.

    Raises:
        FleetError: The key of timestamp, or of snapshot if that is due, is not available.
    """
    with repository.locked():
        trusted, now, days = repository.recover(), repository.clock(), repository.settings.expiry_days
        keys, settings = repository.keys, repository.settings

        def due(signed: Targets | Root | Snapshot, role: str) -> bool:
            return signed.expires - now < timedelta(days=days[role]) / 2

        targets = deepcopy(trusted.targets.signed)
        top = due(targets, "targets") and bool(keys.signers(trusted.root.signed.roles["targets"].keyids))
        roles, delegated, writer = delegated_roles(targets), {}, repository.writer()
        for target, metadata in trusted.delegated.items():
            available = keys.signers(roles[target].keyids)
            enough = len(available) >= roles[target].threshold and not settings.approval
            if enough and due(metadata.signed, RELEASES_ROLE):
                delegated[target] = writer.sign_target(target, deepcopy(metadata.signed), targets)
        snapshot = bool(delegated) or top or due(trusted.snapshot.signed, "snapshot")
        change = Change(delegated=delegated, targets=targets if top else None, snapshot=snapshot)
        writer.check_thresholds(trusted, change)
        writer.write(trusted, change, repository.journal.head())
        renewed = [*delegated, *["targets"] * top, *["snapshot"] * snapshot, "timestamp"]
        if len(renewed) > 1:  # the daily renewal of the timestamp is not recorded
            repository.journal.append(JournalEntry(kind="resigned", when=stamp(now), who=who, why=", ".join(renewed)))
        return renewed


def restore(repository: Repository) -> int:
    """Restores changed or lost metadata in the store from local copies; returns the number of files.

    The timestamp is written last. The copies are verified before anything is written.

    Raises:
        FleetError: The copies in the fleet's folder fail verification.
    """
    with repository.locked():
        copies, store = repository.writer().copies, repository.store
        read_trusted(copies, (repository.settings.folder / ANCHOR).read_bytes())
        last = metadata_name("timestamp")
        names = [*(name for name in copies.list("metadata") if name != last), last]
        differing = {name: content for name in names if (content := copies.read(name)) != store.read(name)}
        for name, content in differing.items():
            store.write(name, content or b"")
        return len(differing)


def signing_keys(trusted: Trusted) -> dict[str, list[str]]:
    """Returns role -> ids of the keys that may sign for it."""
    roles = {role: list(trusted.root.signed.roles[role].keyids) for role in TOP}
    return roles | {target: list(role.keyids) for target, role in delegated_roles(trusted.targets.signed).items()}


def _rotate(repository: Repository, role: str, old: str | None, entry: JournalEntry) -> Key:
    trusted = repository.recover()
    signed_role = role.removesuffix(APPROVER)
    keyids = signing_keys(trusted).get(signed_role)
    if keyids is None:
        raise FleetError(f"there is no role {role!r:.120}; roles: {', '.join(signing_keys(trusted))}")
    replaceable = [key for key in keyids if role in TOP or repository.keys.role_of(key) in (role, "")]
    if old is not None and old not in keyids:
        raise FleetError(f"{old[:16]} does not sign for {signed_role}")
    if (old := old or next(iter(replaceable), None)) is None:
        raise FleetError(f"{role} has no key that can be replaced: pass its id to `nas fleet revoke`")
    _check_signable(repository, trusted, role, old)
    key = repository.keys.create(role, offline=role == "root")
    change = (_top_change(trusted, signed_role, old, key) if signed_role in TOP
              else _target_change(repository, trusted, signed_role, old, key))
    repository.writer().check_thresholds(trusted, change)
    if change.root is not None:
        change.root.version += 1
        change.root.expires = repository.clock() + timedelta(days=repository.settings.expiry_days["root"])
    entry = replace(entry, target="" if signed_role in TOP else signed_role, keys=(key.keyid, old),
                    key=f"{entry.kind} {role} {key.keyid}", why=f"{role}: {entry.why}" if entry.why else role)
    repository.journal.append(entry, "intent")
    repository.writer().write(trusted, change, repository.journal.head())
    repository.trusted()  # updates the root of trust in the folder
    repository.journal.append(entry)
    return key


def _top_change(trusted: Trusted, role: str, old: str, key: Key) -> Change:
    root = deepcopy(trusted.root.signed)
    root.revoke_key(old, role)
    root.add_key(key, role)
    targets = deepcopy(trusted.targets.signed) if role == "targets" else None
    return Change(root=root, targets=targets, snapshot=role in ("targets", "snapshot"))


def _target_change(repository: Repository, trusted: Trusted, target: str, old: str, key: Key) -> Change:
    targets = deepcopy(trusted.targets.signed)
    targets.revoke_key(old, target)
    targets.add_key(key, target)
    signed = repository.writer().sign_target(
        target, deepcopy(trusted.delegated[target].signed), targets, with_approver=True
    )
    return Change(delegated={target: signed}, targets=targets)


def _check_signable(repository: Repository, trusted: Trusted, role: str, old: str) -> None:
    """Checks that the available keys can sign the rotation, before a new key is created."""
    root = trusted.root.signed
    above = root.roles["root" if role in TOP else "targets"]
    name = "root" if role in TOP else "targets"
    available = {signer.public_key.keyid for signer in repository.keys.signers(above.keyids)}
    enough = len(available) >= above.threshold
    if role == "root":  # the new root needs enough of its own keys too, including the new one
        enough = enough and len(available - {old}) + 1 >= above.threshold
    if not enough:
        absent = [f"{key[:8]} ({repository.keys.uri_of(key)})" for key in above.keyids if key not in available]
        raise FleetError(f"{name} needs {above.threshold} signature(s), {len(available)} available; missing keys: "
                         f"{', '.join(absent)}; use `--keys FOLDER` for a key on a removable medium. Nothing was "
                         "changed")
