"""Publishes a registered version as a signed release.

Order of the writes: gate results in the registry, bundle in the store, signed metadata, registry alias. An interrupted
publication is completed by the same command: it finds its intent in the journal and uses the same counter.
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
from nas_pipeline.export.bundle import MODEL_FILE
from nas_pipeline.fleet.drift_sums import EVIDENCE as DRIFT
from nas_pipeline.fleet.drift_sums import parse_drift_sums
from nas_pipeline.fleet.tuf.edit import Edit
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, added, newest, next_counter
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.registry.onnx_model import EVIDENCE
from nas_pipeline.registry.releasing import Releasable, releasable, set_canary

RECORD = "version.json"
"""File in bundles/DIGEST with the registry's data about the version."""
_MIN_RUNTIME = {22: "1.21", 23: "1.23", 24: "1.24"}
"""Opset -> the first version of ONNX Runtime that supports it."""
_OLDEST_RUNTIME, _RUNTIME_BELOW = "1.20", "2"
_LATENCY_GATE = "latency_p95_ms"


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """The release that devices are offered after a publication."""

    model: str
    version: str
    counter: int
    share: int
    """Of the fleet, in 1/10,000."""
    live: bool
    """False if it waits for the approver."""
    changed: bool
    """False if it was published already."""


def publish(
    repository: Repository, root: Path, target: str, *, who: str, why: str = "", version: str | None = None,
    latency_ms: float | None = None, lift_quarantine: bool = False, tracking_uri: str | None = None,
) -> PublishedRelease:
    """Publishes a version of the model of `target` to the first wave of its devices.

    Args:
        repository: The fleet's repository.
        root: The workspace; it determines the data set, the promotion policy and the tracking server.
        target: The target.
        who: Author, for the journal.
        why: Reason, for the journal.
        version: Registered version. Default: the candidate, else the champion.
        latency_ms: Bound on the p95 latency on a device. Default: the bound of the verification gate.
        lift_quarantine: Lets devices that gave up on the file try it again.
        tracking_uri: Default: MLFLOW_TRACKING_URI, else an SQLite file in `root`.

    Raises:
        PromotionRefusal: A gate is red, or the stored files differ from the registered ones.
        FleetError: A roll-out is in progress, the version has no golden vectors, or a key is not available.
        StorageError: A file cannot be written; the same command completes the publication.
        RegistryError: There is no such version.
        TrackingUnavailable: The tracking server does not respond.
    """
    candidate = releasable(root, target, version=version, tracking_uri=tracking_uri)
    with repository.edit(target, candidate.model) as edit:
        top = newest(edit.release_list)
        if top is not None and (top.sha256, top.release.version) == (_sha256(candidate), candidate.version):
            entry, live, changed = top, True, False
        else:
            entry = new_release(candidate, edit, latency_ms=latency_ms, lift_quarantine=lift_quarantine)
            release_list = added(edit.release_list, entry)
            upload_bundle(repository, candidate)
            key = f"published {target}/{candidate.model}/{entry.release.counter}/{entry.sha256}"
            live = edit.sign(release_list, edit.entry("published", entry, who=who, why=why, key=key),
                             files={entry.card.onnx: candidate.onnx})
            changed = True
    if live and not candidate.champion:
        reach("alias")
        set_canary(root, candidate.model, candidate.version, tracking_uri=tracking_uri)
    counter, share = entry.release.counter, entry.release.wave.share
    return PublishedRelease(candidate.model, candidate.version, counter, share, live, changed)


def new_release(
    candidate: Releasable, edit: Edit, *, latency_ms: float | None = None, lift_quarantine: bool = False
) -> ReleaseEntry:
    """Returns the release of a version for the first wave, as it is signed.

    Raises:
        FleetError: The version has no golden vectors, or neither an argument nor a gate gives a latency bound.
    """
    settings, challenger = edit.settings, candidate.challenger
    bundle, latency = challenger.bundle, challenger.latency
    vectors, opset = _golden(candidate), golden.opset_of(candidate.onnx)
    bounds_ms = (float(gate.bound) for gate in challenger.verified if gate.gate == _LATENCY_GATE)
    bound_ms = latency_ms or next(bounds_ms, None)
    if bound_ms is None:
        raise FleetError(f"{candidate.model} version {candidate.version} has no latency bound: pass --latency-ms")
    counter = _counter(edit, candidate)
    wave = wire.Wave(sha256_text(f"{candidate.model}/{counter}/{bundle.digest}")[:32], settings.waves, 0)
    release = wire.Release(
        schema=wire.SCHEMA, model=candidate.model, version=candidate.version, bundle=bundle.digest, counter=counter,
        hardware=settings.hardware.get(edit.target, (edit.target,)),
        ort=(_MIN_RUNTIME.get(opset, _OLDEST_RUNTIME), _RUNTIME_BELOW), opset=opset, min_agent=settings.min_agent,
        memory_mb=float(settings.memory_mb), latency_ms=bound_ms, threads=latency.threads, golden=vectors.sha256,
        wave=wave, lift_quarantine=lift_quarantine,
    )
    spec, normalisation = bundle.spec, _normalisation(candidate)
    card = wire.ModelCard(
        counter=counter, onnx=wire.onnx_path(edit.target, candidate.model, _sha256(candidate)), channels=spec.channels,
        height=spec.height, width=spec.width, class_names=challenger.class_names, mean=normalisation["mean"],
        std=normalisation["std"], golden=vectors,
        evidence={
            "accuracy": {name: value for name, value in bundle.metrics.items() if "accuracy" in name},
            "latency": {"p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms, "evidence": latency.evidence},
            "precision": bundle.precision, "size_bytes": len(candidate.onnx), "genotype": bundle.genotype.id,
            **_drift_sums(candidate),
        },
    )
    return ReleaseEntry(release, card)


def upload_bundle(repository: Repository, candidate: Releasable) -> None:
    """Writes the version's files and its registry data to bundles/DIGEST, the registry data last.

    Raises:
        StorageError: A file cannot be written.
    """
    folder = f"bundles/{candidate.challenger.bundle.digest}"
    files: Mapping[str, bytes] = {**candidate.files, RECORD: canonical_json(candidate.record).encode()}
    for name, content in files.items():
        reach("bundle")
        if repository.store.read(f"{folder}/{name}") != content:
            repository.store.write(f"{folder}/{name}", content)


def _sha256(candidate: Releasable) -> str:
    return candidate.challenger.bundle.files[MODEL_FILE]


def _counter(edit: Edit, candidate: Releasable) -> int:
    """Returns the counter of an interrupted publication of the same version if it is the highest, else a new one."""
    wanted = ("published", edit.target, candidate.model, candidate.version, _sha256(candidate))
    for entry in edit.repository.journal.unfinished():
        identity = (entry.kind, entry.target, entry.model, entry.version, entry.sha256)
        if identity == wanted and entry.counter == edit.highest_counter:
            return entry.counter
    return next_counter(edit.release_list, edit.highest_counter)


def _golden(candidate: Releasable) -> wire.Golden:
    content = candidate.files.get(f"{EVIDENCE}/{golden.FILE}")
    if content is None:
        raise FleetError(
            f"version {candidate.version} of {candidate.model} has no golden vectors ({golden.FILE} in its evidence), "
            "with which a device tests the model: it was registered by an earlier version of this program. Run "
            "`nas pipeline` again to export and register a version that has them"
        )
    try:
        vectors = golden.read_golden(content)
    except NasError as error:
        raise FleetError(f"version {candidate.version} of {candidate.model}: {error}") from error
    precision = candidate.challenger.bundle.precision
    return wire.Golden(
        images=len(vectors.pixels), pixels=base64.b64encode(vectors.pixels.tobytes()).decode(),
        logits=base64.b64encode(vectors.logits.astype("<f4").tobytes()).decode(),
        tolerance=golden.tolerance(precision, vectors.logits), agreement=golden.agreement(precision),
    )


def _drift_sums(candidate: Releasable) -> dict[str, Any]:
    """Returns the reference for drift detection; empty for a version that was registered without one."""
    content = candidate.files.get(f"{EVIDENCE}/{drift_reference.FILE}")
    try:
        return {DRIFT: parse_drift_sums(json.loads(content), least=1).to_json()} if content else {}
    except (FleetError, ValueError) as error:
        raise FleetError(
            f"{drift_reference.FILE} of {candidate.model} version {candidate.version}: {error}"
        ) from error


def _normalisation(candidate: Releasable) -> dict[str, tuple[float, ...]]:
    provenance: dict[str, Any] = candidate.challenger.bundle.provenance
    try:
        return {name: tuple(float(value) for value in provenance[name]) for name in ("mean", "std")}
    except (KeyError, TypeError, ValueError) as error:
        raise FleetError(
            f"the bundle of {candidate.model} version {candidate.version} has no normalisation ({error}): export and "
            "register it again"
        ) from error
