"""From a registered version to a signed release: gates tagged, bundle uploaded, targets signed, alias moved last.

What is interrupted is carried out by the same command: it finds its own intent in the journal and takes up its counter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.contract import wire
from nas_pipeline.core.failpoints import reach
from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.errors import FleetError, NasError
from nas_pipeline.export import drift_reference, golden
from nas_pipeline.fleet.drift_sums import EVIDENCE as DRIFT
from nas_pipeline.fleet.drift_sums import sums_from
from nas_pipeline.fleet.tuf.journal import Entry
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, ReleaseList, added, newest, next_counter
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings, stamp
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.releasing import Releasable, releasable, set_canary

RECORD = "version.json"
"""In bundles/DIGEST: what the registry says of the version."""
_RUNTIME = {22: "1.21", 23: "1.23", 24: "1.24"}
"""Opset -> the ONNX Runtime that has it."""
_OLDEST_RUNTIME, _BELOW = "1.20", "2"
_LATENCY_GATE = "latency_p95_ms"


@dataclass(frozen=True, slots=True)
class Published:
    """What devices are offered now."""

    model: str
    version: str
    counter: int
    share: int
    """Of the fleet, in 1/10,000."""
    live: bool
    """False: it waits for the approver."""
    changed: bool
    """False where it was published already."""


def publish(
    repository: Repository, root: Path, target: str, *, who: str, why: str = "", version: str | None = None,
    latency_ms: float | None = None, lift_quarantine: bool = False, tracking_uri: str | None = None,
) -> Published:
    """Release a version of the model of `target` to the first wave of its target.

    Args:
        repository: The fleet's.
        root: The workspace: it says which data set, which policy and where MLflow is.
        target: The target.
        who: For the journal.
        why: For the journal.
        version: Default: the candidate, else the champion.
        latency_ms: Bound on a device; default: the bound that verify had.
        lift_quarantine: Devices that gave the file up may try it again.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red, or the stored files are not those that were registered.
        FleetError: A roll-out is on its way, the version has no golden vectors, or a key is not at hand.
        StorageError: A file could not be written; the same command goes on.
        RegistryError: There is no such version.
        TrackingUnavailable: MLflow does not answer.
    """
    found = releasable(root, target, version=version, tracking_uri=tracking_uri)
    sha256 = found.challenger.bundle.files["model.onnx"]
    rows = repository.rows(target, found.model)
    top = newest(rows)
    if top is not None and (top.sha256, top.release.version) == (sha256, found.version):
        counter, share, live, changed = top.release.counter, top.release.wave.share, True, False
    else:
        counter = _counter(repository, target, found, rows, sha256)
        new = listed(found, target, counter, repository.settings, latency_ms=latency_ms, lift=lift_quarantine)
        listing = added(rows, new)
        upload(repository, found)
        share, changed = new.release.wave.share, True
        live = repository.release(target, found.model, listing, files={new.card.onnx: found.onnx}, entry=Entry(
            kind="published", when=stamp(repository.clock()), who=who, why=why, version=found.version,
            counter=counter, sha256=sha256, bundle=found.challenger.bundle.digest, share=share,
            key=f"published {target}/{found.model}/{counter}/{sha256}",
        ))
    if live and not found.champion:
        reach("alias")
        set_canary(root, found.model, found.version, tracking_uri=tracking_uri)
    return Published(found.model, found.version, counter, share, live, changed)


def listed(
    found: Releasable, target: str, counter: int, settings: FleetSettings, *, latency_ms: float | None = None,
    lift: bool = False,
) -> ReleaseEntry:
    """The release of a version, as it is signed.

    Raises:
        FleetError: The version has no golden vectors, or nothing says how fast it has to be.
    """
    bundle, latency = found.challenger.bundle, found.challenger.latency
    vectors, opset = _golden(found), golden.opset_of(found.onnx)
    bound = latency_ms or next(
        (float(gate.bound) for gate in found.challenger.verified if gate.gate == _LATENCY_GATE), None
    )
    if bound is None:
        raise FleetError(f"nothing says how fast {found.model} version {found.version} has to be: give --latency-ms")
    wave = wire.Wave(sha256_text(f"{found.model}/{counter}/{bundle.digest}")[:32], settings.waves, 0)
    release = wire.Release(
        schema=wire.SCHEMA, model=found.model, version=found.version, bundle=bundle.digest, counter=counter,
        hardware=settings.tags(target), ort=(_RUNTIME.get(opset, _OLDEST_RUNTIME), _BELOW), opset=opset,
        min_agent=settings.min_agent, memory_mb=float(settings.memory_mb), latency_ms=bound, threads=latency.threads,
        golden=vectors.sha256, wave=wave, lift_quarantine=lift,
    )
    spec, normal = bundle.spec, _normalisation(found)
    card = wire.ModelCard(
        counter=counter, onnx=wire.onnx_path(target, found.model, bundle.files["model.onnx"]), channels=spec.channels,
        height=spec.height, width=spec.width, class_names=found.challenger.class_names, mean=normal["mean"],
        std=normal["std"], golden=vectors,
        evidence={
            "accuracy": {name: value for name, value in bundle.metrics.items() if "accuracy" in name},
            "latency": {"p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms, "evidence": latency.evidence},
            "precision": bundle.precision, "size_bytes": len(found.onnx), "genotype": bundle.genotype.id,
            **_drift(found),
        },
    )
    return ReleaseEntry(release, card)


def upload(repository: Repository, found: Releasable) -> None:
    """Put the version's files and what the registry says of it under bundles/DIGEST, the record last.

    Raises:
        StorageError: The store does not take them.
    """
    folder = f"bundles/{found.challenger.bundle.digest}"
    files: Mapping[str, bytes] = {**found.files, RECORD: canonical_json(found.record).encode()}
    for name, content in files.items():
        reach("bundle")
        if repository.store.read(f"{folder}/{name}") != content:
            repository.store.write(f"{folder}/{name}", content)


def _counter(repository: Repository, target: str, found: Releasable, rows: ReleaseList, sha256: str) -> int:
    """That of the same publication where it was begun and nothing else came between; else the next one."""
    highest = repository.highest_counter(target, found.model)
    for entry in repository.journal.unfinished():
        same = (entry.kind, entry.target, entry.model, entry.version, entry.sha256) == (
            "published", target, found.model, found.version, sha256
        )
        if same and entry.counter == highest:
            return entry.counter
    return next_counter(rows, highest)


def _golden(found: Releasable) -> wire.Golden:
    content = found.files.get(f"{EVIDENCE}/{golden.FILE}")
    if content is None:
        raise FleetError(
            f"version {found.version} of {found.model} has no golden vectors ({golden.FILE} in its evidence), by which "
            "a device tells that it works: it was registered by an earlier program. Run `nas pipeline` again: the "
            "export adds them, and registers a version that has them"
        )
    try:
        vectors = golden.read_golden(content)
    except NasError as error:
        raise FleetError(f"version {found.version} of {found.model}: {error}") from error
    precision = found.challenger.bundle.precision
    return wire.Golden(
        images=len(vectors.pixels), pixels=base64.b64encode(vectors.pixels.tobytes()).decode(),
        logits=base64.b64encode(vectors.logits.astype("<f4").tobytes()).decode(),
        tolerance=golden.tolerance(precision, vectors.logits), agreement=golden.agreement(precision),
    )


def _drift(found: Releasable) -> dict[str, Any]:
    """What devices' images are compared with; a version of an earlier program has none, and is not compared."""
    content = found.files.get(f"{EVIDENCE}/{drift_reference.FILE}")
    try:
        return {DRIFT: sums_from(json.loads(content), least=1).to_json()} if content else {}
    except (FleetError, ValueError) as error:
        raise FleetError(f"{drift_reference.FILE} of {found.model} version {found.version}: {error}") from error


def _normalisation(found: Releasable) -> dict[str, tuple[float, ...]]:
    told: dict[str, Any] = found.challenger.bundle.provenance
    try:
        return {name: tuple(float(value) for value in told[name]) for name in ("mean", "std")}
    except (KeyError, TypeError, ValueError) as error:
        raise FleetError(f"the bundle of {found.model} version {found.version} does not say how images are normalised "
                         f"({error}): export and register it again") from error
