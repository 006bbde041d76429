"""A registered version with its evidence, as promotion sees it."""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle


@dataclass(frozen=True, slots=True)
class Seal:
    """Whether what is stored is what was registered: digests noted in the version's tags, and those found now."""

    model_noted: str
    model_bundled: str
    """What the version's own bundle.json says; empty where there is none."""
    model_found: str
    evidence_noted: str
    evidence_found: str


@dataclass(frozen=True, slots=True)
class Contender:
    """One version. Its evidence is read from the version, never from a workspace."""

    version: str
    bundle: ModelBundle
    latency: LatencyReport
    verified: tuple[GateResult, ...]
    """What verify answered, with the bounds that the target had then."""
    data_valid: bool
    predictions: Predictions | None
    """None for a version whose file was not among those that retrain asked."""
    class_names: tuple[str, ...]
    withdrawn: str = ""
    """Why it was rolled back, if it was and nobody has named it since."""


@dataclass(frozen=True, slots=True)
class InUse:
    """The champion, as far as a comparison needs it."""

    version: str
    predictions: Predictions | None
    """None where they were not recorded, or are not what was registered."""
