"""Records in which packages meet. Frozen, plain, named with their units; `to_json`/`from_json` go through dicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.core.genotype import Genotype

Evidence = Literal["measured", "predicted", "proxy"]
"""Where a latency comes from. Only `measured` on the target passes a gate."""

Precision = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Shape of what a network takes and gives: [N, channels, height, width] -> [N, classes]."""

    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """Identity of an ingested data set. `digest` is taken over the sorted rows of the manifest table."""

    name: str
    digest: str
    spec: InputSpec
    counts: dict[str, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    """Per channel, of the train split, in units of pixel / 255."""
    std: tuple[float, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    """What ingest found and did, for the summary: duplicates dropped, source, checksums."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DatasetManifest:
        """Read what `to_json` wrote."""
        listed = {key: tuple(value[key]) for key in ("class_names", "mean", "std")}
        return cls(**{**value, **listed, "spec": InputSpec(**value["spec"])})


@dataclass(frozen=True, slots=True)
class TargetDevice:
    """A device class and its bounds. Data in params.yaml, never code."""

    name: str
    probe: str
    latency_ms: float
    """Bound on the p95 latency of one image."""
    size_bytes: int
    min_accuracy: float
    threads: int = 1
    precision: Literal["auto", "fp32", "int8"] = "auto"
    opset: int = 20
    host_factor: float = 1.0
    """For proxy probes: latency on the target = latency on this host x factor."""


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency of one ONNX file for one image, and how it is known."""

    evidence: Evidence
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    processes: int
    threads: int
    spread: float
    """(max - min) / median over the processes of (median of the model / median of the reference model)."""
    stable: bool
    model_sha256: str
    reference_p50_ms: float
    """Median of the reference model in the same processes, interleaved: says how fast the host was."""
    host: dict[str, Any] = field(default_factory=dict)
    quantiles_ms: tuple[float, ...] = ()
    """0, 1, ..., 100 % of the pooled runs: the distribution, for the report."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LatencyReport:
        """Read what `to_json` wrote."""
        return cls(**{**value, "quantiles_ms": tuple(value.get("quantiles_ms", ()))})


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Accuracy of one architecture trained from scratch with several seeds."""

    genotype: Genotype
    dataset_digest: str
    recipe: dict[str, Any]
    seeds: tuple[int, ...]
    val_accuracy: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    epochs: tuple[float, ...]
    """Epoch chosen by val, per seed."""
    device_s: tuple[float, ...]
    params: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "genotype": self.genotype.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainResult:
        """Read what `to_json` wrote."""
        listed = {key: tuple(value[key]) for key in ("seeds", "val_accuracy", "test_accuracy", "epochs", "device_s")}
        return cls(**{**value, **listed, "genotype": Genotype.from_json(value["genotype"])})


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported file is from the network it was made of, on real images."""

    images: int
    top1_agreement: float
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """The files that ship to one target, and what is known of them."""

    target: str
    genotype: Genotype
    files: dict[str, str]
    """Name -> sha256."""
    spec: InputSpec
    precision: Precision
    metrics: dict[str, float]
    """val_accuracy (of the very file), fp32_val_accuracy, test_accuracy, size_bytes, params, macs, ..."""
    parity: Parity
    provenance: dict[str, Any]

    @property
    def digest(self) -> str:
        """Hex sha256 over the files and the genotype: equal bundles have equal digests."""
        return sha256_text(canonical_json({"files": self.files, "genotype": self.genotype.to_json()}))

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the digest."""
        return {**asdict(self), "genotype": self.genotype.to_json(), "digest": self.digest}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelBundle:
        """Read what `to_json` wrote."""
        rest = {key: item for key, item in value.items() if key != "digest"}
        rest.update(
            genotype=Genotype.from_json(value["genotype"]),
            spec=InputSpec(**value["spec"]),
            parity=Parity(**value["parity"]),
        )
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer: the figure, the bound, and whether it is green."""

    gate: str
    passed: bool
    figure: float | str
    bound: float | str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GateResult:
        """Read what `to_json` wrote."""
        return cls(**value)
