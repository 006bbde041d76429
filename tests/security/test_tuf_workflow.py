"""The client's workflow of the TUF specification, role by role, against our own agent: its answer has a code, and the
model in use is the one before. docs/decisions/0014-tuf-conformance.md says which area is where.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import Signer

from edge_agent.agent import Agent
from tests.security.device import in_use, reports, set_up
from tests.security.scene import NEW, OLD, Scene, clock_of_tuf
from tests.security.tuf_repository import MODEL, TARGET, new_keys
from tests.security.web import Handler, honest, serving

ROLES = ("timestamp", "snapshot", "targets", TARGET)
DAY = 86_400


def versions(**by_role: int) -> dict[str, Callable[[Any], None]]:
    """Returns changes that set versions of roles."""
    return {role: lambda signed, version=number: setattr(signed, "version", version)
            for role, number in by_role.items()}


# The first check

def test_consistent_names_are_asked_for_and_the_second_look_asks_little(scene: Scene) -> None:
    scene.repository.rotate()
    scene.repository.publish([OLD])
    version = scene.repository.version
    (scene.state / "releases.json").unlink()
    with serving(scene.repository.folder) as server:
        scene.accepts(server.url)
        first = [path for path, _ in server.requests]
        server.requests.clear()
        scene.accepts(server.url)
        second = [path for path, _ in server.requests]
    below = [f"/metadata/{version}.{role}.json" for role in ("snapshot", "targets", TARGET)]
    assert first[:6] == ["/metadata/2.root.json", "/metadata/3.root.json", "/metadata/timestamp.json", *below]
    assert first[6].startswith(f"/targets/{TARGET}/{MODEL}/")
    assert first[6].endswith(".release.json")
    assert second == ["/metadata/3.root.json", "/metadata/timestamp.json"]


@pytest.mark.parametrize("wrong", ["root that is no JSON", "root of another fleet", "root without enough signatures"])
def test_a_device_that_was_given_a_wrong_root_trusts_nobody(wrong: str, scene: Scene, tmp_path: Path) -> None:
    fresh = set_up(tmp_path / "fresh", scene.repository)
    root = fresh / "root.json"
    if wrong == "root that is no JSON":
        root.write_bytes(b"{")
    elif wrong == "root of another fleet":
        root.write_bytes(Scene(tmp_path / "other").repository.first_root.read_bytes())
    else:
        scene.repository.rotate(signers=scene.repository.keys["root"][:1])
        root.write_bytes((scene.metadata / "2.root.json").read_bytes())
    assert Agent(fresh).once().code == ("bad_metadata" if wrong == "root that is no JSON" else "bad_signature")
    assert in_use(fresh) == ""


@pytest.mark.parametrize("status", [403, 500])
def test_no_newer_root_is_not_the_same_as_no_answer(status: int, scene: Scene) -> None:
    def moody(handler: Handler, content: bytes) -> None:
        if handler.path.endswith("root.json"):
            handler.send_error(status)
        else:
            honest(handler, content)

    scene.repository.rotate()
    scene.repository.publish([OLD])
    with serving(scene.repository.folder, moody) as server:
        if status == 403:
            scene.accepts(server.url)
        else:
            scene.refuses("unreachable", server.url)


def test_without_consistent_snapshots_other_names_are_asked_for(scene: Scene) -> None:
    scene.repository.rotate(change=lambda root: setattr(root, "consistent_snapshot", False))
    scene.repository.publish([NEW])
    scene.refuses("unreachable")


# Root

@pytest.mark.parametrize(("old", "new", "code"), [
    (2, 2, ""), (3, 2, ""), (2, 3, ""), (2, 0, "bad_signature"), (0, 2, "bad_signature"), (1, 2, "bad_signature"),
    (2, 1, "bad_signature"), (1, 1, "bad_signature"), (0, 0, "bad_signature"), (3, 1, "bad_signature"),
    (1, 3, "bad_signature"),
])
def test_old_and_new_root_keys_have_to_sign(old: int, new: int, code: str, scene: Scene) -> None:
    """Replaces all keys, with a threshold of two of three."""
    before = scene.repository.keys["root"]
    after = new_keys("root")["root"]
    scene.repository.keys["root"] = after
    scene.repository.rotate(signers=[*before[:old], *after[:new]])
    scene.repository.publish([OLD])
    scene.accepts() if not code else scene.refuses(code)
    assert scene.trusted("root") == (1 if code else 2)


@pytest.mark.parametrize(("retained", "threshold", "signing", "code"), [
    (3, 2, (0, 1), ""),  # the same keys
    (3, 2, (1, 2), ""),
    (3, 2, (0,), "bad_signature"),
    (3, 2, (0, 0), "bad_signature"),  # one key twice
    (3, 3, (0, 1), "bad_signature"),  # a higher threshold
    (3, 3, (0, 1, 2), ""),
    (3, 1, (0,), "bad_signature"),  # a lower threshold, signed by one key only
    (3, 1, (0, 1), ""),
    (2, 2, (0, 2), "bad_signature"),  # a removed key signs for the old root only
    (2, 2, (0, 1), ""),
])
def test_keys_that_stay_count_for_both_roots(retained: int, threshold: int, signing: tuple[int, ...], code: str,
                                            scene: Scene) -> None:
    held = scene.repository.keys["root"]
    scene.repository.keys["root"] = held[:retained]
    scene.repository.thresholds["root"] = threshold
    scene.repository.rotate(signers=[held[index] for index in signing])
    scene.repository.publish([OLD])
    scene.accepts() if not code else scene.refuses(code)
    assert scene.trusted("root") == (1 if code else 2)


@pytest.mark.parametrize(("change", "code"), [
    (lambda root: setattr(root, "version", 1), "replayed"),
    (lambda root: setattr(root, "version", 3), "replayed"),
    (lambda root: root.roles.pop("timestamp"), "bad_metadata"),
    (lambda root: root.roles["timestamp"].keyids.clear(), "bad_signature"),
    (lambda root: setattr(root.roles["snapshot"], "threshold", 2), "bad_signature"),
    (lambda root: setattr(root.roles["targets"], "threshold", 0), "bad_metadata"),
])
def test_a_root_that_makes_no_sense(change: Callable[[Any], None], code: str, scene: Scene) -> None:
    scene.repository.rotate(change=change)
    scene.repository.publish([NEW])
    scene.refuses(code)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff\xfe", b"null"])
def test_a_root_that_is_none(content: bytes, scene: Scene) -> None:
    (scene.metadata / "2.root.json").write_bytes(content)
    scene.refuses("bad_metadata")
    (scene.metadata / "2.root.json").write_bytes((scene.metadata / "timestamp.json").read_bytes())
    scene.refuses("bad_metadata")


def test_only_the_last_root_has_to_be_fresh(scene: Scene) -> None:
    scene.repository.rotate(days=-1)
    scene.repository.publish([OLD])
    scene.refuses("expired")
    scene.repository.rotate()
    scene.accepts()
    assert scene.trusted("root") == 3


def test_a_device_follows_more_roots_in_its_life_than_in_one_look(scene: Scene) -> None:
    for _ in range(2):
        for _ in range(40):
            scene.repository.rotate()
        scene.repository.rotate("timestamp")
        scene.repository.publish([OLD])
        scene.accepts()
    assert scene.trusted("root") == 83


def test_more_roots_than_one_look_follows_take_two_looks(scene: Scene) -> None:
    for role in ("", *[""] * 70, "timestamp"):
        scene.repository.rotate(role)
    scene.repository.publish([OLD])
    scene.refuses("bad_signature")
    scene.accepts()


# Keys of each role

@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize(("threshold", "who", "code"), [
    (1, (3,), ""), (2, (3, 4), ""), (2, (4, 5), ""),  # 3, 4, 5: the new keys
    (1, (0,), "bad_signature"),  # 0: the removed key
    (2, (3,), "bad_signature"), (2, (3, 3), "bad_signature"), (2, (0, 3), "bad_signature"), (1, (), "bad_signature"),
])
def test_new_keys_of_a_role(role: str, threshold: int, who: tuple[int, ...], code: str, scene: Scene) -> None:
    repository, old = scene.repository, scene.repository.keys[role]
    repository.keys[role] = [signer for _ in range(3) for signer in new_keys(role)[role]]
    repository.thresholds[role] = threshold
    repository.rotate()
    held: dict[int, Signer] = {0: old[0], **dict(enumerate(repository.keys[role], 3))}
    repository.publish([OLD], signers={role: [held[index] for index in who]})
    scene.accepts() if not code else scene.refuses(code)


# Rollback and fast-forward

@pytest.mark.parametrize(("lowered", "code"), [
    ({"timestamp": 1}, "replayed"), ({"snapshot": 1}, "replayed"), ({"targets": 1}, "mixed"), ({TARGET: 1}, "mixed"),
])
@pytest.mark.parametrize("hashes", [False, True])
def test_a_version_below_the_known_one(lowered: dict[str, int], code: str, hashes: bool, scene: Scene) -> None:
    """The old version is signed correctly, and every other file is newer."""
    scene.repository.hashes = hashes
    scene.repository.publish([OLD])
    scene.accepts()
    scene.repository.publish([NEW], change=versions(**lowered))
    scene.refuses(code)


def test_old_files_that_have_expired_still_say_what_was_seen(scene: Scene) -> None:
    scene.repository.publish([OLD], change=versions(targets=9), days=1, timestamp_days=1)
    scene.accepts()
    with clock_of_tuf(2 * DAY):
        scene.repository.publish([NEW], change=versions(targets=8))
        scene.refuses("mixed")


def test_another_timestamp_of_the_same_version_is_nothing_new(scene: Scene) -> None:
    scene.repository.version -= 1
    scene.repository.publish([NEW], change=versions(snapshot=99))
    scene.accepts()
    assert scene.trusted("snapshot") == scene.repository.version


@pytest.mark.parametrize(("forward", "renewed", "code"), [
    ("timestamp", ["timestamp"], ""), ("timestamp", ["snapshot"], "replayed"), ("timestamp", [], "replayed"),
    ("snapshot", ["timestamp"], ""), ("snapshot", ["timestamp", "snapshot"], ""),
    ("snapshot", ["snapshot"], "replayed"),  # the old timestamp names the high version
    ("targets", ["snapshot"], ""), ("targets", ["targets"], "mixed"), ("targets", ["timestamp"], "mixed"),
    (TARGET, ["snapshot"], ""), (TARGET, [], "mixed"),
])
def test_a_fast_forward_ends_with_new_keys(forward: str, renewed: list[str], code: str, scene: Scene) -> None:
    scene.repository.publish([OLD], change=versions(**{forward: 2**31}))
    assert scene.once().event == "current"
    assert scene.trusted(forward) == 2**31
    for role in renewed:
        scene.repository.rotate(role)
    scene.repository.publish([OLD])
    scene.accepts() if not code else scene.refuses(code)


# Freeze, and files of different times

@pytest.mark.parametrize("role", ROLES)
def test_each_role_expires(role: str, scene: Scene) -> None:
    def ended(signed: Any) -> None:
        signed.expires = signed.expires.replace(year=2020)

    scene.repository.publish([NEW], change={role: ended})
    scene.refuses("expired")
    assert scene.trusted("timestamp") == scene.repository.version - (role == "timestamp"), "stays in the cache"


@pytest.mark.parametrize("role", ROLES)
def test_what_is_held_expires_too(role: str, scene: Scene) -> None:
    """The repository does not change."""
    scene.repository.publish([OLD], change={
        name: lambda signed: setattr(signed, "expires", signed.expires.replace(year=2090))
        for name in ROLES if name != role})
    scene.accepts()
    with clock_of_tuf(364 * DAY):
        scene.refuses("expired")


@pytest.mark.parametrize("name", ["targets.json", f"{TARGET}.json"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_snapshot_that_leaves_a_file_out(name: str, fresh: bool, scene: Scene) -> None:
    if fresh:  # without an earlier snapshot
        shutil.rmtree(scene.state / "metadata")
    scene.repository.publish([NEW], change={"snapshot": lambda snapshot: snapshot.meta.pop(name)})
    scene.refuses("bad_metadata")


def test_a_snapshot_that_shrinks_by_a_role_that_is_not_ours(scene: Scene) -> None:
    def more(snapshot: Any) -> None:
        snapshot.meta["other.json"] = snapshot.meta["targets.json"]

    scene.repository.publish([OLD], change={"snapshot": more})
    scene.accepts()
    scene.repository.publish([NEW])
    scene.refuses("bad_metadata")


@pytest.mark.parametrize("role", ROLES)
def test_a_file_in_the_place_of_another(role: str, scene: Scene) -> None:
    """Each file is genuine, but belongs to another role."""
    scene.repository.publish([NEW])
    other = {"timestamp": "snapshot", "snapshot": "targets", "targets": TARGET, TARGET: "targets"}[role]
    scene.file_of(role).write_bytes(scene.file_of(other).read_bytes())
    scene.refuses("bad_signature" if {role, other} == {"targets", TARGET} else "bad_metadata")


@pytest.mark.parametrize("role", ROLES)
def test_a_file_that_is_not_there(role: str, scene: Scene) -> None:
    scene.repository.publish([NEW])
    scene.file_of(role).unlink()
    scene.refuses("unreachable")
    assert "unreachable" not in {report["code"] for report in reports(scene.state)}
