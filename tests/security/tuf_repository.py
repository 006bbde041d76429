"""A small TUF repository in a folder, in the layout of the fleet, with tiny ONNX files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from edge_agent.contract import wire

TARGET, MODEL = "toy", "shapes--toy"
CLASSES, CHANNELS, SIDE = 3, 3, 8
EVERYONE = wire.Wave("00" * 16, (wire.WHOLE,), 0)
Change = Callable[[Any], object]
"""A change of the signed part of a role, applied before it is signed."""


@cache
def tiny_onnx(seed: int, padding: int = 0) -> bytes:
    """Average of the image, then a random matrix: [N, 3, 8, 8] to [N, 3].

    Args:
        seed: Another one, another file with other answers.
        padding: Bytes of weights (multiplied by 0) that make the file larger.
    """
    rng = np.random.default_rng(seed)
    weights = numpy_helper.from_array(rng.normal(size=(CHANNELS, CLASSES)).astype(np.float32), "weights")
    bulk = numpy_helper.from_array(rng.random(max(1, padding // 4), dtype=np.float32), "bulk")
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        helper.make_node("ReduceMean", ["bulk"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["scores", "nothing"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", CHANNELS, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [weights, bulk, helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def answers(content: bytes, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the logits of a file for `pixels`: uint8 [N, C, H, W]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images = (pixels.astype(np.float32) / 255 - 0.5) / 0.25
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0], dtype="<f4")


@cache
def golden_of(content: bytes) -> wire.Golden:
    """Returns golden vectors: four random images and the logits."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, CHANNELS, SIDE, SIDE), dtype=np.uint8)
    return wire.Golden(4, base64.b64encode(pixels.tobytes()).decode(),
                       base64.b64encode(answers(content, pixels).tobytes()).decode(), 1e-4, 1.0)


@dataclass(frozen=True)
class Row:
    """One release in the list, with its file."""

    content: bytes
    release: wire.Release
    card: wire.ModelCard

    @property
    def sha256(self) -> str:
        return self.card.sha256


def row(content: bytes, counter: int, *, golden: wire.Golden | None = None, model: str = MODEL, target: str = TARGET,
        **changes: Any) -> Row:
    """A release of `content`; `changes` are fields of its `custom`."""
    golden = golden or golden_of(content)
    sha256 = hashlib.sha256(content).hexdigest()
    release = wire.Release(
        schema=wire.SCHEMA, model=model, version=str(counter), bundle=hashlib.sha256(b"bundle").hexdigest(),
        counter=counter, hardware=("toy-board",), ort=("1.20", "2"), opset=17, min_agent="0.1", memory_mb=256.0,
        latency_ms=500.0, threads=1, golden=golden.sha256, wave=EVERYONE)
    card = wire.ModelCard(counter, wire.onnx_path(target, model, sha256), CHANNELS, SIDE, SIDE,
                       tuple(f"class {index}" for index in range(CLASSES)), (0.5,) * 3, (0.25,) * 3, golden, {})
    return Row(content, replace(release, **changes), card)


def new_keys(*roles: str) -> dict[str, list[Signer]]:
    """One ed25519 key for each role, three for root."""
    return {role: [CryptoSigner.generate_ed25519() for _ in range(3 if role == "root" else 1)] for role in roles}


@dataclass(frozen=True)
class Other:
    """A role besides the one of the target, to which the top-level targets delegate; or `children` of such a role."""

    name: str
    rows: Sequence[Row] = ()
    """Releases that it lists for the usual model; empty: no release.json."""
    paths: Sequence[str] | None = (f"{TARGET}/*/*",)
    prefixes: Sequence[str] | None = None
    """Prefixes of the sha256 of paths, in place of `paths`."""
    terminating: bool = False
    threshold: int = 1
    keys: Sequence[Signer] = field(default_factory=lambda: [CryptoSigner.generate_ed25519()])
    children: Sequence[Other] = ()
    first: bool = True
    """Whether it comes before the role of the target."""

    @property
    def delegation(self) -> DelegatedRole:
        return DelegatedRole(self.name, [key.public_key.keyid for key in self.keys], self.threshold, self.terminating,
                             list(self.paths) if self.paths else None, list(self.prefixes) if self.prefixes else None)


def delegations_to(roles: Sequence[Other]) -> Delegations | None:
    """Delegations in the order in which a client visits them."""
    keys = {key.public_key.keyid: key.public_key for role in roles for key in role.keys}
    return Delegations(keys, {role.name: role.delegation for role in roles}) if roles else None


@dataclass
class TufRepository:
    """Signs and writes; every `publish` is a new version of everything below root.

    Attributes:
        folder: What a web server would serve, or a stick hold.
        now: Of the machine that signs; None: the real time.
        hashes: Whether snapshot and timestamp list the hashes of what they lead to.
        thresholds: How many keys of a role have to sign; 1 for one that is not named.
    """

    folder: Path
    target: str = TARGET
    now: datetime | None = None
    hashes: bool = False
    keys: dict[str, list[Signer]] = field(default_factory=dict)
    thresholds: dict[str, int] = field(default_factory=lambda: {"root": 2})
    version: int = 0
    root_version: int = 0
    listed: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = self.keys or new_keys("root", "targets", "snapshot", "timestamp", self.target)
        (self.folder / "metadata").mkdir(parents=True, exist_ok=True)
        self.rotate()
        self.publish()

    @property
    def first_root(self) -> Path:
        """Returns the first root.json, with which a device is set up."""
        return self.folder / "metadata" / "1.root.json"

    def rotate(self, role: str = "", days: float = 365, *, signers: Sequence[Signer] | None = None,
               change: Change = id) -> None:
        """Writes the next root, with a new key for `role`; the old and the new root keys sign, or `signers`."""
        able = list(self.keys["root"])
        if role:
            self.keys.update(new_keys(role))
        self.root_version += 1
        root = Root(version=self.root_version, expires=self._expiry(days), consistent_snapshot=True)
        for name in ("root", "targets", "snapshot", "timestamp"):
            for signer in self.keys[name]:
                root.add_key(signer.public_key, name)
            root.roles[name].threshold = self.thresholds.get(name, 1)
        able += [signer for signer in self.keys["root"] if signer not in able]
        change(root)
        self._write(f"{self.root_version}.root", root, able if signers is None else signers)

    def publish(self, rows: Sequence[Row] = (), *, model: str = MODEL, days: float = 30, timestamp_days: float = 7,
                issued: str | None = None, cards: bytes | None = None,
                signers: Mapping[str, Sequence[Signer]] | None = None, others: Sequence[Other] = (),
                change: Mapping[str, Change] | None = None) -> None:
        """Writes a list of releases.

        Args:
            rows: All that is listed for `model`; what is listed for others stays.
            model: The registered model.
            days: Life of targets and snapshot.
            timestamp_days: Life of timestamp.
            issued: In place of the time of now.
            cards: In place of what release.json should hold.
            signers: Who signs a role in place of those that should.
            others: More roles, in the order in which they are asked.
            change: By role, what is done to its content before it is signed.
        """
        self.version += 1
        self.listed[model] = tuple(rows)
        target = Other(self.target, keys=self.keys[self.target], threshold=self.thresholds.get(self.target, 1),
                       paths=(f"{self.target}/*/*",), terminating=True)
        roles = [*(other for other in others if other.first), target, *(other for other in others if not other.first)]
        keys = {**self.keys, **{role.name: role.keys for role in _all(roles)}, **(signers or {})}
        meta = {}

        def write(role: str, signed: Signed) -> MetaFile:
            (change or {}).get(role, id)(signed)
            name = role if role == "timestamp" else f"{signed.version}.{quote(role, '')}"
            return self._write(name, signed, keys[role])

        for role in _all(roles):
            targets = Targets(version=self.version, expires=self._expiry(days),
                              delegations=delegations_to(role.children))
            self._list(targets, self.listed if role is target else {MODEL: role.rows} if role.rows else {}, cards)
            meta[f"{role.name}.json"] = write(role.name, targets)
        top = Targets(version=self.version, expires=self._expiry(days), delegations=delegations_to(roles))
        meta["targets.json"] = write("targets", top)
        snapshot = Snapshot(version=self.version, expires=self._expiry(days), meta=meta)
        top_of_all = write("snapshot", snapshot)
        timestamp = Timestamp(version=self.version, expires=self._expiry(timestamp_days), snapshot_meta=top_of_all,
                              unrecognized_fields={"issued": issued or self._stamp()})
        write("timestamp", timestamp)

    def _list(self, targets: Targets, listed: Mapping[str, Sequence[Row]], cards: bytes | None) -> None:
        for name, rows in listed.items():
            text = wire.releases_to(name, self.target, self._stamp(), tuple(row.card for row in rows))
            self._target(targets, wire.release_path(self.target, name), cards or text, {})
            for one in rows:
                self._target(targets, one.card.onnx, one.content, {"custom": wire.custom_of(one.release)})

    def _target(self, targets: Targets, path: str, content: bytes, extra: dict[str, Any]) -> None:
        info = TargetFile.from_data(path, content, ["sha256"])
        info.unrecognized_fields.update(extra)
        targets.targets[path] = info
        folder, _, name = path.rpartition("/")
        file = self.folder / "targets" / folder / f"{info.hashes['sha256']}.{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def _write(self, name: str, signed: Signed, signers: Sequence[Signer]) -> MetaFile:
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        content = metadata.to_bytes(JSONSerializer(compact=True))
        (self.folder / "metadata" / f"{name}.json").write_bytes(content)
        if not self.hashes:
            return MetaFile(version=signed.version)
        return MetaFile(signed.version, len(content), {"sha256": hashlib.sha256(content).hexdigest()})

    def _time(self) -> datetime:
        return (self.now or datetime.now(UTC)).replace(microsecond=0)

    def _stamp(self) -> str:
        return self._time().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _expiry(self, days: float) -> datetime:
        return self._time() + timedelta(days=days)


def _all(roles: Sequence[Other]) -> list[Other]:
    return [each for role in roles for each in (role, *_all(role.children))]
