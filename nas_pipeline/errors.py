"""The whole error tree. Every message says what was wrong, where, and what to do.

NasError                 exit 1
├── ConfigError          exit 2   params.yaml, a profile, a command line
├── DataError            exit 3   images, labels, shards, manifests
├── SpaceError                    a genotype or a decision that a space does not know
├── SearchError                   a study that cannot be run or resumed
├── TrainError                    a training that cannot start or go on
├── ExportError                   ONNX export, quantisation, bundles
├── LatencyError                  a measurement that cannot be taken
├── RegistryError                 MLflow runs and registered models
├── StorageError                  a disk that is full, read only, or forbids
└── FleetError                    signed releases

Two marks go across the tree. `Refusal` (exit 4): a gate said no. That is an answer: it is never retried
and the flow ends in a state named for it. `Transient`: the only kind that Prefect retries.
"""

from __future__ import annotations


class NasError(Exception):
    """Base of everything raised on purpose."""

    exit_code = 1


class Refusal(NasError):
    """Mark: a gate said no. Combine with a branch of the tree."""

    exit_code = 4


class Transient(NasError):
    """Mark: the same call may succeed later. Combine with a branch of the tree."""


class ConfigError(NasError):
    """The configuration is wrong."""

    exit_code = 2


class DataError(NasError):
    """The data cannot be used."""

    exit_code = 3


class SpaceError(NasError):
    """A genotype or a decision is not of this space."""


class SearchError(NasError):
    """The search cannot be run or resumed."""


class TrainError(NasError):
    """The training cannot start or go on."""


class ExportError(NasError):
    """A network cannot be exported, quantised or bundled."""


class LatencyError(NasError):
    """A latency cannot be measured."""


class RegistryError(NasError):
    """MLflow cannot do what was asked."""


class StorageError(NasError):
    """The disk is full, read only, or forbids."""


class FleetError(NasError):
    """A release cannot be signed, published or installed."""


class KeysUnavailable(FleetError):
    """A change needs private keys that are not available on this machine."""


class NoEarlierRelease(FleetError):
    """A rollback has no earlier release to return to."""


class DataRefusal(Refusal, DataError):
    """Validation found rows that must not be trained on."""

    exit_code = 4


class SearchRefusal(Refusal, SearchError):
    """No candidate of the search meets the bounds."""

    exit_code = 4


class GateRefusal(Refusal, LatencyError):
    """A verification gate is red, or its evidence does not count."""

    exit_code = 4


class PromotionRefusal(Refusal, RegistryError):
    """A gate of promotion is red: the champion stays."""


class RolloutRefusal(Refusal, FleetError):
    """Too many devices failed: the release goes to no more of them."""

    exit_code = 4


class ReproductionRefusal(Refusal, RegistryError):
    """A run that was built again has other digests than it had."""

    exit_code = 4


class TrackingUnavailable(Transient, RegistryError):
    """The tracking server does not answer."""


ERRORS: dict[str, type[NasError]] = {
    cls.__name__: cls
    for cls in (
        NasError, ConfigError, DataError, SpaceError, SearchError, TrainError, ExportError, LatencyError,
        RegistryError, StorageError, FleetError, Refusal, Transient, DataRefusal, SearchRefusal, GateRefusal,
        PromotionRefusal, RolloutRefusal, ReproductionRefusal, TrackingUnavailable,
    )
}
"""Names back to types: a stage that fails under DVC leaves its error's name in a file, the flow raises it again."""
