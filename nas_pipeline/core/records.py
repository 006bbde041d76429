"""Records that packages exchange. They are frozen; names of quantities end with their unit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.core.genotype import Genotype

Evidence = Literal["measured", "predicted", "proxy"]
"""Source of a latency. Only `measured` on the target passes a gate."""

Precision = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Input and output shape of a network: [N, channels, height, width] -> [N, classes]."""

    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """Identity of an ingested data set. `digest`: sha256 of the sorted rows of the manifest table."""

    name: str
    digest: str
    spec: InputSpec
    counts: dict[str, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    """Mean per channel of the train split, in units of pixel / 255."""
    std: tuple[float, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    """Facts about the ingest for the summary: dropped duplicates, source, checksums."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DatasetManifest:
        """Parses the result of `to_json`."""
        listed = {key: tuple(value[key]) for key in ("class_names", "mean", "std")}
        return cls(**{**value, **listed, "spec": InputSpec(**value["spec"])})


@dataclass(frozen=True, slots=True)
class TargetDevice:
    """A device class and its bounds, as configured in params.yaml."""

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
    """For proxy probes: latency on the target = factor x latency on this host."""


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency of one ONNX file for one image, with its evidence."""

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
    """Median latency of the reference model, interleaved in the same processes: a measure of the host's speed."""
    host: dict[str, Any] = field(default_factory=dict)
    quantiles_ms: tuple[float, ...] = ()
    """The 0, 1, ..., 100 % quantiles of the pooled runs, for the report."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LatencyReport:
        """Parses the result of `to_json`."""
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
    """Epoch selected on the validation split, per seed."""
    device_s: tuple[float, ...]
    params: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return {**asdict(self), "genotype": self.genotype.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainResult:
        """Parses the result of `to_json`."""
        listed = {key: tuple(value[key]) for key in ("seeds", "val_accuracy", "test_accuracy", "epochs", "device_s")}
        return cls(**{**value, **listed, "genotype": Genotype.from_json(value["genotype"])})


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of an exported file with its PyTorch network on real images."""

    images: int
    top1_agreement: float
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """The files to deploy to one target, with metrics and provenance."""

    target: str
    genotype: Genotype
    files: dict[str, str]
    """Name -> sha256."""
    spec: InputSpec
    precision: Precision
    metrics: dict[str, float]
    """val_accuracy (of this file), fp32_val_accuracy, test_accuracy, size_bytes, params, macs, ..."""
    parity: Parity
    provenance: dict[str, Any]

    @property
    def digest(self) -> str:
        """Hex sha256 of the files and the genotype. Equal bundles have equal digests."""
        return sha256_text(canonical_json({"files": self.files, "genotype": self.genotype.to_json()}))

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, with the digest."""
        return {**asdict(self), "genotype": self.genotype.to_json(), "digest": self.digest}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelBundle:
        """Parses the result of `to_json`."""
        rest = {key: item for key, item in value.items() if key != "digest"}
        rest.update(
            genotype=Genotype.from_json(value["genotype"]),
            spec=InputSpec(**value["spec"]),
            parity=Parity(**value["parity"]),
        )
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of one gate: the figure, its bound, and whether it passed."""

    gate: str
    passed: bool
    figure: float | str
    bound: float | str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GateResult:
        """Parses the result of `to_json`."""
        return cls(**value)
