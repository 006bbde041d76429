"""Records that promotion compares: a registered version with its evidence, its integrity, and the champion."""

from __future__ import annotations

from dataclasses import dataclass

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult, LatencyReport, ModelBundle


@dataclass(frozen=True, slots=True)
class Integrity:
    """Digests of a version's files: as recorded at registration, and as computed from the stored files now."""

    model_recorded: str
    model_bundled: str
    """The digest in the version's own bundle.json; empty where there is none."""
    model_stored: str
    evidence_recorded: str
    evidence_stored: str


@dataclass(frozen=True, slots=True)
class Challenger:
    """A version that may become champion. Its evidence is read from the version, never from a workspace."""

    version: str
    bundle: ModelBundle
    latency: LatencyReport
    verified: tuple[GateResult, ...]
    """The results of verification, with the bounds that the target had at that time."""
    data_valid: bool
    predictions: Predictions | None
    """None for a version whose file was not evaluated when retrain read the test split."""
    class_names: tuple[str, ...]
    withdrawn: str = ""
    """Why the version was rolled back; empty if it was not, or if it was promoted by name since."""


@dataclass(frozen=True, slots=True)
class ChampionPredictions:
    """The predictions of the champion on its test images."""

    version: str
    predictions: Predictions | None
    """None where they were not recorded, or where the stored files are not the registered ones."""
