"""When metadata was issued, kinds of keys and forms of JSON: what a TUF client reads and what it does not, against our
own agent. docs/decisions/0014-tuf-conformance.md says which area is where.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata

from edge_agent.errors import SetupError
from tests.security.device import set_up
from tests.security.scene import NEW, OLD, Scene
from tests.security.tuf_repository import TARGET, TufRepository

ROLES = ("timestamp", "snapshot", "targets", TARGET)
STRANGER = CryptoSigner.generate_ed25519()


# When a timestamp was issued: a floor that sorts as text does

@pytest.mark.parametrize("issued", [
    "2026-9-1T0:0:0Z",  # a date in the past that sorts above those that follow
    "\uff12\uff10\uff12\uff16-11-02T00:00:00Z",  # digits of another script
    "2026-11-02T00:00:00+00:00", "2026-11-02 00:00:00Z", "2026-11-02T00:00:00z", "", "99999-01-01T00:00:00Z",
])
def test_a_time_in_another_form_is_none(issued: str, scene: Scene) -> None:
    scene.repository.publish([NEW], change={
        "timestamp": lambda timestamp: timestamp.unrecognized_fields.update(issued=issued)})
    scene.refuses("bad_metadata")
    scene.repository.publish([OLD])
    scene.accepts()


@pytest.mark.parametrize("issued", [None, 0, 1, [], {}])
def test_a_time_that_is_no_text(issued: Any, scene: Scene) -> None:
    scene.repository.publish([NEW], change={
        "timestamp": lambda timestamp: timestamp.unrecognized_fields.update(issued=issued)})
    scene.refuses("bad_metadata")


def test_a_floor_in_another_form_is_told_at_set_up(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="2026-9-1"):
        set_up(tmp_path / "fresh", scene.repository, floor={"issued": "2026-9-1T00:00:00Z", "counter": 0})


# Kinds of keys

KINDS: dict[str, Callable[[], Signer]] = {
    "ed25519": CryptoSigner.generate_ed25519, "ecdsa-sha2-nistp256": CryptoSigner.generate_ecdsa,
    "rsassa-pss-sha256": lambda: CryptoSigner.generate_rsa(size=2048),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_keys(kind: str, scene: Scene, tmp_path: Path) -> None:
    one, two = KINDS[kind](), KINDS[kind]()
    assert one.public_key.scheme == kind
    scene.repository.keys.update({role: [one] for role in ROLES})
    scene.repository.rotate()
    scene.repository.publish([NEW], signers={"timestamp": [two]})
    scene.refuses("bad_signature")
    scene.repository.publish([OLD])
    scene.accepts()
    root = TufRepository(tmp_path / "another", keys={**scene.repository.keys, "root": [one, two]})
    state = set_up(tmp_path / "fresh", root)
    root.rotate()
    root.publish([])
    scene.state = state
    assert scene.once().event == "current"


@pytest.mark.parametrize(("change", "code"), [
    ({"scheme": "ecdsa-sha2-nistp256"}, "bad_metadata"),  # key type and scheme do not match
    ({"keytype": "lattice", "scheme": "lattice-1"}, "bad_metadata"),
    ({"keytype": "rsa", "scheme": "rsassa-pss-sha256"}, "bad_signature"),  # not a key of this type
    ({"keyval": {"public": "ab" * 32}}, "bad_signature"), ({"keyval": {"public": "x"}}, "bad_signature"),
    ({"keyval": {}}, "bad_metadata"),
])
def test_a_key_that_is_none(change: dict[str, Any], code: str, scene: Scene) -> None:
    """Publishes a correctly signed root with this key for the timestamp."""
    repository = scene.repository
    repository.rotate()
    path = scene.metadata / "2.root.json"
    value = json.loads(path.read_bytes())
    (keyid,) = value["signed"]["roles"]["timestamp"]["keyids"]
    value["signed"]["keys"][keyid].update(change)
    path.write_bytes(signed_anew(value, repository.keys["root"]))
    repository.publish([NEW])
    scene.refuses(code)


def signed_anew(value: dict[str, Any], signers: Any) -> bytes:
    """Signs any content."""
    text = encode_canonical(value["signed"])
    assert text is not None
    value["signatures"] = [{"keyid": each.public_key.keyid, "sig": each.sign(text.encode()).signature}
                           for each in signers]
    return json.dumps(value).encode()


# Kinds of JSON

@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("extra", [
    {"x": 1}, {"\u00e4\u4f60": ["\U0001f600", None, True, {"": {}}]}, {"x": "a\n\t\"\\\u007f"},
])
def test_unknown_fields_are_kept_and_signed(role: str, extra: dict[str, Any], scene: Scene) -> None:
    def more(signed: Any) -> None:
        signed.unrecognized_fields.update(extra)

    scene.repository.publish([OLD], change={role: more})
    scene.accepts()
    scene.repository.publish([NEW], change={role: more})
    value = json.loads(scene.file_of(role).read_bytes())
    value["signed"][next(iter(extra))] = "another"
    scene.file_of(role).write_text(json.dumps(value))
    scene.refuses("bad_signature")


@pytest.mark.parametrize(("spec", "code"), [
    ("1.0.0", ""), ("1.0.99", ""), ("1.99", ""), ("2.0.0", "bad_metadata"), ("0.9.9", "bad_metadata"),
    ("1", "bad_metadata"), ("1.a", "bad_metadata"), ("", "bad_metadata"), (1, "bad_metadata"),
])
@pytest.mark.parametrize("role", ["timestamp", TARGET])
def test_versions_of_the_specification(spec: Any, code: str, role: str, scene: Scene) -> None:
    scene.repository.publish([OLD], change={role: lambda signed: setattr(signed, "spec_version", spec)})
    scene.accepts() if not code else scene.refuses(code)


def backwards(value: Any) -> Any:
    """Returns the value with the keys of each object in reverse order."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


FORMS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "spaces": (lambda content: json.dumps(json.loads(content), indent=7).encode(), ""),
    "order": (lambda content: json.dumps(backwards(json.loads(content))).encode(), ""),
    "escapes": (lambda content: content.replace(b"sig", b"\\u0073ig"), ""),
    "end of line": (lambda content: content + b"\r\n", ""),
    "unknown fields outside": (lambda content: b'{"x":1,' + content[1:], ""),
    "signature of a stranger besides": (lambda content: _with_stranger(content), ""),
    "no signatures": (lambda content: json.dumps({**json.loads(content), "signatures": []}).encode(), "bad_signature"),
    "signatures twice": (lambda content: _twice(content), "bad_metadata"),
    "signature that is no hex": (lambda content: _sig(content, "zz"), "bad_signature"),
    "empty signature": (lambda content: _sig(content, ""), "bad_signature"),
    "mark in front": (lambda content: b"\xef\xbb\xbf" + content, "bad_metadata"),
    "two bytes a letter": (lambda content: content.decode().encode("utf-16"), "bad_metadata"),
    "bytes that are no text": (lambda content: content.replace(b"version", b"versi\xff\xfe"), "bad_metadata"),
    "more behind it": (lambda content: content + b"{}", "bad_metadata"),
    "cut off": (lambda content: content[:-1], "bad_metadata"),
    "deep": (lambda content: b'{"x":' * 3_000, "bad_metadata"),
    "a table in a list": (lambda content: b"[" + content + b"]", "bad_metadata"),
    "a fraction": (lambda content: content.replace(b'"version":', b'"x":0.5,"version":', 1), "bad_metadata"),
    "no number": (lambda content: content.replace(b'"version":', b'"x":NaN,"version":', 1), "bad_metadata"),
    "half a letter": (lambda content: content.replace(b'"version":', b'"x":"\\ud800","version":', 1), "bad_metadata"),
    "version as text": (lambda content: _with_version(content, "9"), "bad_metadata"),
    "version below 1": (lambda content: _with_version(content, -1), "bad_metadata"),
}


def _with_stranger(content: bytes) -> bytes:
    metadata: Metadata[Any] = Metadata.from_bytes(content)
    metadata.sign(STRANGER, append=True)
    return metadata.to_bytes()


def _twice(content: bytes) -> bytes:
    value = json.loads(content)
    return json.dumps({**value, "signatures": value["signatures"] * 2}).encode()


def _sig(content: bytes, text: str) -> bytes:
    value = json.loads(content)
    value["signatures"][0]["sig"] = text
    return json.dumps(value).encode()


def _with_version(content: bytes, version: Any) -> bytes:
    value = json.loads(content)
    return json.dumps({**value, "signed": {**value["signed"], "version": version}}).encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("role", ["timestamp", TARGET])
def test_forms_of_json(form: str, role: str, scene: Scene) -> None:
    edit, code = FORMS[form]
    scene.repository.publish([OLD])
    scene.file_of(role).write_bytes(edit(scene.file_of(role).read_bytes()))
    scene.accepts() if not code else scene.refuses(code)
