"""New keys in place of old ones, and dates anew. Devices that were away follow the chain of roots.

What is signed for a new key is signed with the old one too, as far as it is at hand, and the new root is written last:
at no moment does a device meet something that it cannot check.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Snapshot, Targets

from nas_pipeline.errors import FleetError
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import TOP, Trusted, delegated_roles, metadata_name, read_trusted
from nas_pipeline.fleet.tuf.settings import RELEASES_ROLE, stamp
from nas_pipeline.fleet.tuf.signing import APPROVER, Change


def rotate(repository: Repository, role: str, *, who: str, why: str = "", old: str | None = None) -> Key:
    """A new key for `role` in place of one that it has; what the role signs is signed anew.

    Args:
        repository: The fleet's.
        role: root, targets, snapshot, timestamp, a target, or TARGET.approver.
        who: For the journal.
        why: For the journal.
        old: Id of the key that goes; default: the only one, or of root's the one that is longest there.

    Raises:
        FleetError: There is no such role or key, or a key that has to sign is not at hand. Nothing was changed.
    """
    with repository.locked():
        return _rotate(repository, role, old, Entry(kind="rotated", when=stamp(repository.clock()), who=who, why=why))


def revoke(repository: Repository, keyid: str, *, who: str, why: str = "") -> tuple[str, Key]:
    """Take a key out, wherever it may sign, with a new one in its place; returns role and new key.

    `keyid` may be its beginning.

    Raises:
        FleetError: No key of that id may sign, or more than one; or a key that has to sign is not at hand.
    """
    with repository.locked():
        trusted = repository.settled()
        held = {key: role for role, keyids in signing(trusted).items() for key in keyids if key.startswith(keyid)}
        if len(held) != 1 or not keyid:
            raise FleetError(f"{len(held)} keys that may sign begin with {keyid!r:.70}: `nas fleet status` lists them")
        (found, role), = held.items()
        if repository.keys.role_of(found).endswith(APPROVER):
            role += APPROVER
        entry = Entry(kind="revoked", when=stamp(repository.clock()), who=who, why=why)
        return role, _rotate(repository, role, found, entry)


def resign(repository: Repository, *, who: str) -> list[str]:
    """Date the timestamp anew, and whatever else is past half of its time and can be signed here; returns the roles.

    Raises:
        FleetError: The key of timestamp, or of snapshot where that is due, is not at hand.
    """
    with repository.locked():
        trusted, now, days = repository.settled(), repository.clock(), repository.settings.expiry_days
        keys, settings = repository.keys, repository.settings

        def due(signed: Targets | Root | Snapshot, role: str) -> bool:
            return signed.expires - now < timedelta(days=days[role]) / 2

        targets = deepcopy(trusted.targets.signed)
        top = due(targets, "targets") and bool(keys.signers(trusted.root.signed.roles["targets"].keyids))
        roles, delegated, writer = delegated_roles(targets), {}, repository.writer()
        for target, metadata in trusted.delegated.items():
            at_hand = keys.signers(roles[target].keyids)
            enough = len(at_hand) >= roles[target].threshold and not settings.approval
            if enough and due(metadata.signed, RELEASES_ROLE):
                delegated[target] = writer.target(target, deepcopy(metadata.signed), targets)
        snapshot = bool(delegated) or top or due(trusted.snapshot.signed, "snapshot")
        change = Change(delegated=delegated, targets=targets if top else None, snapshot=snapshot)
        writer.write(trusted, change, repository.journal.head())
        done = [*delegated, *["targets"] * top, *["snapshot"] * snapshot, "timestamp"]
        if len(done) > 1:  # the daily date of the timestamp is no news
            repository.journal.append(Entry(kind="resigned", when=stamp(now), who=who, why=", ".join(done)))
        return done


def restore(repository: Repository) -> int:
    """Put the metadata that was signed here back into the store, the timestamp last; returns how many files differed.

    For a store that somebody else wrote to, or that lost files. It is checked before anything is written.

    Raises:
        FleetError: The copies in the fleet's folder do not follow from the root of trust.
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


def signing(trusted: Trusted) -> dict[str, list[str]]:
    """Role -> ids of the keys that may sign for it."""
    roles = {role: list(trusted.root.signed.roles[role].keyids) for role in TOP}
    return roles | {target: list(role.keyids) for target, role in delegated_roles(trusted.targets.signed).items()}


def _rotate(repository: Repository, role: str, old: str | None, entry: Entry) -> Key:
    trusted = repository.settled()
    place = role.removesuffix(APPROVER)
    held = signing(trusted).get(place)
    if held is None:
        raise FleetError(f"there is no role {role!r:.120}; there are: {', '.join(signing(trusted))}")
    made = [key for key in held if role in TOP or repository.keys.role_of(key) in (role, "")]
    if old is not None and old not in held:
        raise FleetError(f"{old[:16]} does not sign for {place}")
    if (old := old or next(iter(made), None)) is None:
        raise FleetError(f"{role} has no key that could be replaced; give its id with `nas fleet revoke`")
    _see_that_it_can_be_signed(repository, trusted, role, old)
    key = repository.keys.make(role, offline=role == "root")
    change = _of_family(repository, trusted, place, old, key) if place not in TOP else _of_top(trusted, place, old, key)
    if change.root is not None:
        change.root.version += 1
        change.root.expires = repository.clock() + timedelta(days=repository.settings.expiry_days["root"])
    entry = replace(entry, target="" if place in TOP else place, keys=(key.keyid, old),
                    key=f"{entry.kind} {role} {key.keyid}", why=f"{role}: {entry.why}" if entry.why else role)
    repository.journal.append(entry, "intent")
    repository.writer().write(trusted, change, repository.journal.head())
    repository.trusted()  # the root of trust in the folder follows
    repository.journal.append(entry)
    return key


def _of_top(trusted: Trusted, role: str, old: str, key: Key) -> Change:
    root = deepcopy(trusted.root.signed)
    root.revoke_key(old, role)
    root.add_key(key, role)
    targets = deepcopy(trusted.targets.signed) if role == "targets" else None
    return Change(root=root, targets=targets, snapshot=role in ("targets", "snapshot"))


def _of_family(repository: Repository, trusted: Trusted, target: str, old: str, key: Key) -> Change:
    targets = deepcopy(trusted.targets.signed)
    targets.revoke_key(old, target)
    targets.add_key(key, target)
    writer = repository.writer()
    signed = writer.target(target, deepcopy(trusted.delegated[target].signed), targets, approver=True)
    writer.see_threshold(target, signed, targets)
    return Change(delegated={target: signed}, targets=targets)


def _see_that_it_can_be_signed(repository: Repository, trusted: Trusted, role: str, old: str) -> None:
    """Before a key is made: a rotation that cannot be signed leaves no key behind."""
    root = trusted.root.signed
    above = root.roles["root" if role in TOP else "targets"]
    name = "root" if role in TOP else "targets"
    at_hand = {signer.public_key.keyid for signer in repository.keys.signers(above.keyids)}
    enough = len(at_hand) >= above.threshold
    if role == "root":  # of the new ones, too: the one that is made now counts
        enough = enough and len(at_hand - {old}) + 1 >= above.threshold
    if not enough:
        absent = [f"{key[:8]} ({repository.keys.place(key)})" for key in above.keyids if key not in at_hand]
        raise FleetError(f"{name} takes {above.threshold} signature(s), and {len(at_hand)} can be given: not at hand "
                         f"are {', '.join(absent)}; `--keys FOLDER` finds one on a stick. Nothing was changed")
