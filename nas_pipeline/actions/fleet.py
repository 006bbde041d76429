"""Everything `nas fleet` does, as lines of text for the command line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nas_pipeline.actions.identity import current_user
from nas_pipeline.config.params import load_params
from nas_pipeline.config.schema import Params
from nas_pipeline.core.files import atomic_path, write_json
from nas_pipeline.errors import ConfigError, FleetError
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.rollout.live import Live, Seen, live_at
from nas_pipeline.fleet.tuf import operations, pending, rotation
from nas_pipeline.fleet.tuf.create_fleet import found
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.operations import Done
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.releases import settled
from nas_pipeline.fleet.tuf.repository import ANCHOR, Repository
from nas_pipeline.fleet.tuf.roles import ISSUED
from nas_pipeline.fleet.tuf.settings import FleetSettings, stamp
from nas_pipeline.fleet.tuf.store import Folder

FOLDER = "fleet"
_END_OF_DAY = "T23:59:59Z"
REPORTS_URL = "NAS_REPORTS_URL"


def settings_of(root: Path, params: Params) -> FleetSettings:
    """The section `fleet` of params.yaml; folders are below `root`.

    Raises:
        ConfigError: There is no such section.
    """
    if params.fleet is None:
        raise ConfigError(f"{root / 'params.yaml'} has no section `fleet`: copy it from the repository's params.yaml")
    told = params.fleet
    store = told.store if "://" in told.store else str(root / told.store)
    return FleetSettings(
        store=store, folder=root / FOLDER, keys=root / told.keys, target_names=tuple(params.targets),
        expiry_days=told.expiry_days.model_dump(), waves=tuple(told.waves), approval=told.approval,
        hardware={target: tuple(tags) for target, tags in told.hardware.items()}, memory_mb=told.memory_mb,
        rollout=told.rollout,
    )


def has_fleet(root: Path) -> bool:
    """Whether `nas fleet init` was here."""
    return (root / FOLDER / ANCHOR).is_file()


def open_fleet(root: Path, keys: Sequence[Path] = ()) -> Repository:
    """The fleet of the workspace at `root`; `keys`: more folders with private keys.

    Raises:
        ConfigError: params.yaml has no section `fleet`.
        FleetError: `nas fleet init` was not run.
    """
    return Repository.open(settings_of(root, load_params(root)), elsewhere=keys)


@contextlib.contextmanager
def intake_of(root: Path) -> Iterator[Intake]:
    """The database of reports of a workspace, open as long as the block."""
    params = load_params(root)
    settings_of(root, params)  # its message, where there is no section `fleet`
    told = os.environ.get(REPORTS_URL) or (params.fleet.reports if params.fleet else "")
    intake = Intake(told if "://" in told else root / told)
    try:
        yield intake
    finally:
        intake.close()


def init_lines(root: Path) -> Iterator[str]:
    """Make the fleet, or add the targets that are new."""
    settings = settings_of(root, load_params(root))
    done = found(settings, who=current_user())
    if not done.created:
        yield f"the fleet is there; new targets: {', '.join(done.target_names) or 'none'}"
        return
    yield f"fleet made: {settings.store}, targets {', '.join(done.target_names)}"
    yield (f"Now carry {settings.keys / 'offline'} away: three keys of root, of which two sign. Each belongs on a "
           "stick of its own, in a drawer of its own; this machine works without them until a key is replaced.")
    if settings.approval:
        yield f"The approver's keys are {settings.keys}/*.approver-1.pem: move them to the approver's machine."


def publish_lines(root: Path, target: str, version: str | None, why: str, keys: Sequence[Path]) -> Iterator[str]:
    """Release a version to the first wave."""
    done = publish(open_fleet(root, keys), root, target, who=current_user(), why=why, version=version)
    said = f"{done.model}: version {done.version} is release {done.counter}, for {done.share / 100:g} % of {target}"
    if not done.live:
        yield f"{said}; it waits: the approver runs `nas fleet approve --target {target}`"
    else:
        yield said if done.changed else f"{said}, and was before"


def approve_line(root: Path, target: str, why: str, keys: Sequence[Path]) -> str:
    """Give the second signature."""
    entry = open_fleet(root, keys).approve(target, current_user(), why)
    return f"{entry.model}: {entry.kind}, release {entry.counter}, is signed and out"


def change_line(
    root: Path, target: str, keys: Sequence[Path], change: Callable[[Repository, str], Done], model: str | None = None
) -> str:
    """Roll back, stop or withdraw, and say what is offered now."""
    repository = open_fleet(root, keys)
    name = model or the_model(repository, target)
    done = change(repository, name)
    if not done.live:
        return f"{name}: it waits: the approver runs `nas fleet approve --target {target}`"
    before = f"release {done.before.release.counter} (version {done.before.release.version})"
    if done.now is None:
        return f"{name}: {before} is taken away; nothing is offered any more"
    now = done.now.release
    return f"{name}: {before} gives way to release {now.counter} (version {now.version}), {now.wave.share / 100:g} %"


def rollback_line(root: Path, target: str, why: str, keys: Sequence[Path]) -> str:
    """The last good release for everyone."""
    return change_line(root, target, keys, lambda fleet, model: operations.rollback(
        fleet, target, model, who=current_user(), why=why))


def stop_line(root: Path, target: str, why: str, keys: Sequence[Path]) -> str:
    """End a roll-out where it is."""
    return change_line(root, target, keys, lambda fleet, model: operations.stop(
        fleet, target, model, who=current_user(), why=why))


def withdraw_line(root: Path, target: str, sha256: str, why: str, keys: Sequence[Path]) -> str:
    """Take a file away."""
    return change_line(root, target, keys, lambda fleet, model: operations.withdraw(
        fleet, target, model, sha256, who=current_user(), why=why))


def rotate_lines(root: Path, role: str, why: str, keys: Sequence[Path]) -> Iterator[str]:
    """A new key for a role."""
    repository = open_fleet(root, keys)
    key = rotation.rotate(repository, role, who=current_user(), why=why)
    yield f"{role}: the new key is {key.keyid[:12]} at {repository.keys.place(key.keyid)}; the old one signs no more"
    if role == "root":
        yield f"Carry the new key in {repository.settings.keys / 'offline'} away, and destroy the old one."


def revoke_line(root: Path, keyid: str, why: str, keys: Sequence[Path]) -> str:
    """Take a key out."""
    role, key = rotation.revoke(open_fleet(root, keys), keyid, who=current_user(), why=why)
    return f"{role}: key {keyid[:12]} signs no more; the new one is {key.keyid[:12]}"


def resign_line(root: Path) -> str:
    """Date what is due."""
    return f"dated anew: {', '.join(rotation.resign(open_fleet(root), who=current_user()))}"


def restore_line(root: Path) -> str:
    """Put the store's metadata back."""
    return f"{rotation.restore(open_fleet(root))} files of the store were put back"


def status_lines(root: Path, keys: Sequence[Path]) -> Iterator[str]:
    """Versions, expiries, waves, who may sign, what waits, and whether the journal is whole."""
    repository = open_fleet(root, keys)
    trusted, ring = repository.trusted(), repository.keys
    signing = rotation.signing(trusted)
    tops = {"root": trusted.root.signed, "targets": trusted.targets.signed, "snapshot": trusted.snapshot.signed,
            "timestamp": trusted.timestamp.signed}
    for role, signed in {**tops, **{target: each.signed for target, each in trusted.delegated.items()}}.items():
        left = (signed.expires - repository.clock()).days
        held = ", ".join(f"{keyid[:12]}{'' if ring.signer(keyid) else ' (not here)'}" for keyid in signing[role])
        yield f"{role:20} version {signed.version:<5} {left:>4} days left   keys {held}"
    for target, model in repository.models():
        for row in repository.rows(target, model):
            release = row.release
            yield (f"{model}: release {release.counter}, version {release.version}, file {row.sha256[:12]}, "
                   f"wave {release.wave.index + 1} of {len(release.wave.shares)}: {release.wave.share / 100:g} %")
    for target in pending.waiting(repository.settings.folder):
        yield f"{target}: a change waits for the approver"
    for entry in repository.journal.unfinished():
        yield f"begun and not finished: {entry.kind} {entry.model} {entry.why} (run the command again)"
    yield f"journal: {repository.see_journal(trusted)} lines, whole"


def export_root_lines(root: Path, folder: Path) -> Iterator[str]:
    """Write what a device's image is given: root.json, and MODEL.floor.json, below which it never goes."""
    repository = open_fleet(root)
    trusted = repository.trusted()
    with atomic_path(folder / ANCHOR) as temporary:
        temporary.write_bytes((repository.settings.folder / ANCHOR).read_bytes())
    yield f"{folder / ANCHOR}: version {trusted.root.signed.version}"
    issued = str(trusted.timestamp.signed.unrecognized_fields[ISSUED])
    for target, model in repository.models():
        # Of the release that every device may have: one that is in its first waves would keep the others from any.
        whole = settled(repository.rows(target, model))
        counter = whole.release.counter if whole else 0
        write_json(folder / f"{model}.floor.json", {"issued": issued, "counter": counter})
        yield f"{folder / f'{model}.floor.json'}: nothing below release {counter}, nothing issued before {issued}"


def mirror_line(root: Path, folder: Path) -> str:
    """Copy what devices fetch into a folder, for a stick: the timestamp last, so it is whole at any moment."""
    repository = open_fleet(root)
    repository.trusted()
    last, copy = "metadata/timestamp.json", Folder(folder)
    names = [name for part in ("metadata", "targets") for name in repository.store.list(part) if name != last]
    written = 0
    for name in [*names, last]:
        content = repository.store.read(name)
        if content is not None and copy.read(name) != content:
            copy.write(name, content)
            written += 1
    return f"{folder}: {written} files copied, {len(names) + 1 - written} were there"


def live_lines(root: Path, target: str, at: str) -> Iterator[str]:
    """Which version was live then; a date alone is the end of that day."""
    repository = open_fleet(root)
    model = the_model(repository, target)
    reports = _reports(root, target, model)
    found = live_at(
        repository.journal.entries(), reports, at if "T" in at else at + _END_OF_DAY, target=target, model=model
    )
    yield from _told(found, model, at)


def the_model(repository: Repository, target: str) -> str:
    """The model that the target has releases of.

    Raises:
        FleetError: There is none, or more than one.
    """
    def own(entry: Entry) -> bool:
        return entry.target == target and bool(entry.model)

    names = {model for found, model in repository.models() if found == target}
    names = names or {entry.model for entry in repository.journal.entries() if own(entry)}
    if len(names) != 1:
        raise FleetError(f"{target} has releases of {', '.join(sorted(names)) or 'no model'}: "
                         f"{'name one with --model' if names else '`nas fleet publish` makes the first'}")
    return names.pop()


def _reports(root: Path, target: str, model: str) -> list[Seen]:
    """What devices said, at the time at which it came in: their clocks may be wrong."""
    with intake_of(root) as intake:
        return [(heard.report.device, stamp(heard.received), heard.report.counter, heard.report.sha256)
                for heard in intake.heard(target, model, ever=True)]


def _told(found: Live, model: str, at: str) -> Iterator[str]:
    if not found.releases:
        yield f"{model}: nothing was offered at {at}"
    for each in found.releases:
        approved = f", approved by {', '.join(each.approved_by)}" if each.approved_by else ""
        reason = each.why or "no reason given"
        yield (f"{model} version {each.version} (release {each.counter}, file {each.sha256[:12]}), "
               f"for {each.share / 100:g} % since {each.since}, by {each.who}{approved}: {reason}")
        yield f"  on {len(each.devices)} devices that had said so: {', '.join(each.devices[:20]) or '-'}"
    if found.elsewhere:
        yield f"  {len(found.elsewhere)} devices ran something else: {', '.join(list(found.elsewhere)[:20])}"
