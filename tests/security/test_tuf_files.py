"""Delegations and names of roles, lengths and hashes: what a TUF client has to see in what is listed, against our own
agent. docs/decisions/0014-tuf-conformance.md says which area is where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from edge_agent.contract import wire
from tests.security.scene import NEW, OLD, Scene
from tests.security.tuf_repository import MODEL, TARGET, Other, delegations_to, new_keys, row
from tests.security.web import serving

PATH = wire.release_path(TARGET, MODEL)
OURS = {hashlib.sha256(path.encode()).hexdigest()[:2] for path in (PATH, OLD.card.onnx)}


def old(counter: int) -> Any:
    """Returns the old model with another counter: it shows which list was accepted."""
    return row(OLD.content, counter)


BINS = tuple(f"{number:02x}" for number in range(256))


# Delegations: the target lists the old model as release 9

@pytest.mark.parametrize(("others", "counter"), [
    ([], 9),
    ([Other("a", [old(5)]), Other("b", [old(6)])], 5),  # in the order of the list
    ([Other("b", [old(6)]), Other("a", [old(5)])], 6),
    ([Other("a"), Other("b", [old(6)])], 6),  # role a lists nothing
    ([Other("a", terminating=True), Other("b", [old(6)])], 0),  # role a ends the search
    ([Other("a", [old(5)], first=False)], 9),  # after the target, which ends the search
    ([Other("a", [old(5)], paths=("other/*/*",))], 9),
    ([Other("a", [old(5)], paths=(f"{TARGET}/*",))], 9),  # a star does not match a slash
    ([Other("a", [old(5)], paths=("*",))], 9),
    ([Other("a", [old(5)], paths=(f"{TARGET}/{MODEL}/release.jso?", f"{TARGET}/*/*.onnx"))], 5),
    ([Other("a", [old(5)], paths=(f"{TARGET.upper()}/*/*",))], 9),
    ([Other("a", terminating=True, paths=("other/*/*",))], 9),
    ([Other("a", [old(5)], paths=None, prefixes=BINS)], 5),
    ([Other("a", [old(5)], paths=None, prefixes=sorted({*BINS} - OURS))], 9),
    ([Other("a", children=[Other("b", [old(6)])])], 6),  # a list below a list
    ([Other("a", children=[Other("b", [old(6)], paths=("other/*/*",))])], 9),
    ([Other("a", paths=("other/*/*",), children=[Other("b", [old(6)])])], 9),  # b is limited to the paths of a
    ([Other("a", [old(5)], children=[Other("b", [old(6)])])], 5),
    ([Other("a", children=[Other("b", terminating=True)]), Other("c", [old(7)])], 0),
    ([Other("a", children=[Other("b")]), Other("c", [old(7)])], 7),
    ([Other(f"r{number}") for number in range(33)], 0),  # more roles than a client visits
])
def test_who_is_asked_for_a_file(others: list[Other], counter: int, scene: Scene) -> None:
    scene.repository.publish([old(9)], others=others)
    scene.adopts(counter) if counter else scene.accepts()


def test_roles_that_delegate_in_a_circle(scene: Scene) -> None:
    a, b = Other("a"), Other("b")
    scene.repository.publish([old(9)], others=[a, b], change={
        "a": lambda targets: setattr(targets, "delegations", delegations_to([b])),
        "b": lambda targets: setattr(targets, "delegations", delegations_to([a])),
    })
    scene.adopts(9)


STRANGER = new_keys("a")["a"]
EVIL = Other("a", [NEW])
TWO = Other("a", [NEW], threshold=2, keys=new_keys("root")["root"])


@pytest.mark.parametrize(("other", "signers", "code"), [
    (EVIL, [], "bad_signature"),
    (EVIL, STRANGER, "bad_signature"),
    (TWO, TWO.keys[:1], "bad_signature"),
    (TWO, [TWO.keys[0], TWO.keys[0]], "bad_signature"),
    (TWO, [TWO.keys[0], *STRANGER], "bad_signature"),
    (Other("a", [NEW], threshold=2), None, "bad_signature"),  # a threshold above the number of keys
    (Other("b", children=[EVIL]), [], "bad_signature"),
])
def test_a_delegated_role_needs_its_own_keys(other: Other, signers: Any, code: str, scene: Scene) -> None:
    scene.repository.publish([OLD], others=[other], signers=None if signers is None else {"a": signers})
    scene.refuses(code)


def test_enough_keys_of_a_delegated_role(scene: Scene) -> None:
    both = Other("a", [old(5)], threshold=2, keys=TWO.keys)
    scene.repository.publish([OLD], others=[both], signers={"a": TWO.keys[1:]})
    scene.adopts(5)


@pytest.mark.parametrize(("change", "code"), [
    ({"snapshot": lambda snapshot: snapshot.meta.pop("a.json")}, "bad_metadata"),
    ({"snapshot": lambda snapshot: setattr(snapshot.meta["a.json"], "version", 99)}, "unreachable"),
    ({"a": lambda targets: setattr(targets, "expires", targets.expires.replace(year=2020))}, "expired"),
    ({"targets": lambda targets: targets.delegations.keys.clear()}, "bad_signature"),
    ({"targets": lambda targets: targets.delegations.roles["a"].keyids.clear()}, "bad_signature"),
])
def test_a_delegated_role_that_makes_no_sense(change: dict[str, Any], code: str, scene: Scene) -> None:
    scene.repository.publish([OLD], others=[EVIL], change=change)
    scene.refuses(code)


@pytest.mark.parametrize("name", [
    "a b", "a/b", "../../a", "/etc/a", "\u00e4\u4f60\U0001f600", "a?b#c%2e", ".", "1.a", "a\n",
])
@pytest.mark.parametrize("web", [False, True])
def test_a_role_with_an_odd_name_is_quoted(name: str, web: bool, scene: Scene) -> None:
    scene.repository.publish([OLD], others=[Other(name, [old(5)])])
    before = {path for path in scene.folder.rglob("*") if "metadata" not in path.parts}
    if web:
        with serving(scene.repository.folder) as server:
            scene.configure(url=server.url)
            scene.adopts(5)
    else:
        scene.adopts(5)
    after = {path for path in scene.folder.rglob("*") if "metadata" not in path.parts}
    written = {path.name for path in after - before}
    assert all(name == "outbox" or name.startswith("dev-1-") for name in written), "nothing was written elsewhere"


# Length and hash, where they are listed

Lie = Callable[[Any], object]
LIES: list[tuple[str, Lie, str]] = [
    ("shorter", lambda meta: setattr(meta, "length", meta.length - 1), "endless_data"),
    ("longer", lambda meta: setattr(meta, "length", meta.length + 1), "tampered"),
    ("other hash", lambda meta: meta.hashes.update(sha256="0" * 64), "tampered"),
    ("one of two hashes", lambda meta: meta.hashes.update(sha512="0" * 128), "tampered"),
    ("unknown hash", lambda meta: meta.hashes.update(md6="0" * 64), "tampered"),
    ("no hash in the list", lambda meta: meta.hashes.clear(), "bad_metadata"),
    ("a hash that is a number", lambda meta: meta.hashes.update(sha256=1), "bad_metadata"),
    ("length 0", lambda meta: setattr(meta, "length", 0), "tampered"),
    ("version 0", lambda meta: setattr(meta, "version", 0), "bad_metadata"),
]


@pytest.mark.parametrize(("lie", "code"), [each[1:] for each in LIES], ids=[each[0] for each in LIES])
@pytest.mark.parametrize("role", ["snapshot", "targets", TARGET])
def test_a_file_that_is_not_as_listed(role: str, lie: Lie, code: str, scene: Scene) -> None:
    scene.repository.hashes = True
    lister = "timestamp" if role == "snapshot" else "snapshot"

    def change(signed: Any) -> None:
        lie(signed.snapshot_meta if role == "snapshot" else signed.meta[f"{role}.json"])

    scene.repository.publish([NEW], change={lister: change})
    scene.refuses(code)


@pytest.mark.parametrize("kinds", [["sha512"], ["sha256", "sha512"], ["sha3_256"], []])
def test_every_known_hash_will_do(kinds: list[str], scene: Scene) -> None:
    def change(timestamp: Any) -> None:
        content = scene.file_of("snapshot").read_bytes()
        timestamp.snapshot_meta = (
            MetaFile.from_data(timestamp.snapshot_meta.version, content, kinds) if kinds
            else MetaFile(timestamp.snapshot_meta.version, len(content)))

    scene.repository.publish([OLD], change={"timestamp": change})
    scene.accepts()


FILES: list[tuple[str, Lie, str]] = [
    ("shorter", lambda target: setattr(target, "length", target.length - 1), "endless_data"),
    ("longer", lambda target: setattr(target, "length", target.length + 1), "tampered"),
    ("huge", lambda target: setattr(target, "length", 1 << 40), "bad_release"),
    ("negative", lambda target: setattr(target, "length", -1), "bad_metadata"),
    ("one of two hashes", lambda target: target.hashes.update(sha512="0" * 128), "tampered"),
    ("not the hash that we name files by", lambda target: _only_sha512(target), "bad_release"),
    ("a hash that is no name", lambda target: target.hashes.update(sha256="../\0"), "bad_release"),
    ("a hash of another file", lambda target: target.hashes.update(sha256="0" * 64), "unreachable"),
]


def _only_sha512(target: Any) -> None:
    target.hashes = {"sha512": target.hashes["sha256"] * 2}


@pytest.mark.parametrize(("lie", "code"), [each[1:] for each in FILES], ids=[each[0] for each in FILES])
def test_a_list_of_releases_that_is_not_as_listed(lie: Lie, code: str, scene: Scene) -> None:
    scene.repository.publish([NEW], change={TARGET: lambda targets: lie(targets.targets[PATH])})
    scene.refuses(code)


@pytest.mark.parametrize(("edit", "code"), [
    (lambda content: content[:-1], "tampered"), (lambda content: b"", "tampered"),
    (lambda content: content + b" ", "endless_data"), (lambda content: content.replace(b"0", b"1"), "tampered"),
    (None, "unreachable"),
])
def test_a_list_of_releases_on_a_bad_mirror(edit: Any, code: str, scene: Scene) -> None:
    scene.repository.publish([NEW])
    digest = json.loads(scene.file_of(TARGET).read_bytes())["signed"]["targets"][PATH]["hashes"]["sha256"]
    path = scene.repository.folder / f"targets/{TARGET}/{MODEL}/{digest}.release.json"
    content = path.read_bytes()
    path.unlink()
    if edit is not None:
        path.write_bytes(edit(content))
    scene.refuses(code)
