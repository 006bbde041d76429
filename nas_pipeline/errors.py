"""The whole error tree. Every message states what is wrong, where, and what to do.

NasError                    exit 1
├── ConfigError             exit 2   params.yaml, a profile, a command line
├── DataError               exit 3   images, labels, shards, manifests
│   └── DataRefusal         exit 4
├── SpaceError                       a genotype or a decision that is not part of a space
├── SearchError                      a study that cannot be run or resumed
│   └── SearchRefusal       exit 4
├── TrainError                       a training that cannot start or continue
├── ExportError                      ONNX export, quantisation, bundles
├── LatencyError                     a measurement that cannot be taken
│   └── GateRefusal         exit 4
├── RegistryError                    MLflow runs and registered models
│   ├── PromotionRefusal    exit 4
│   ├── ReproductionRefusal exit 4
│   └── TrackingUnavailable          transient
├── StorageError                     a disk that is full, read only or not accessible
├── LockedError                      a lock that another process holds
│   ├── StageBusy                    transient
│   └── WorkspaceBusy                transient
└── FleetError                       signed releases
    ├── KeysUnavailable              a change that cannot be signed with the available keys
    ├── NoEarlierRelease             a rollback without a release to return to
    └── RolloutRefusal      exit 4

Two marks are combined with a branch of the tree. `Refusal` (exit 4): a gate is red. It is a result, not a failure: it
is never retried, and the flow ends in the state Refused. `Transient`: the only kind of error that Prefect retries.
"""

from __future__ import annotations

from collections.abc import Iterator


class NasError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = 1


class Refusal(NasError):
    """Mark: a gate is red. Combined with a branch of the tree."""

    exit_code = 4


class Transient(NasError):
    """Mark: the same call may succeed later. Combined with a branch of the tree."""


class ConfigError(NasError):
    """The configuration is wrong."""

    exit_code = 2


class DataError(NasError):
    """The data cannot be used."""

    exit_code = 3


class SpaceError(NasError):
    """A genotype or a decision is not part of the space."""


class SearchError(NasError):
    """The search cannot be run or resumed."""


class TrainError(NasError):
    """The training cannot start or continue."""


class ExportError(NasError):
    """A network cannot be exported, quantised or bundled."""


class LatencyError(NasError):
    """A latency cannot be measured."""


class RegistryError(NasError):
    """MLflow cannot perform the operation."""


class StorageError(NasError):
    """The disk is full or read only, or access is denied."""


class LockedError(NasError):
    """Another process holds a lock."""


class FleetError(NasError):
    """A release cannot be signed, published or installed."""


class KeysUnavailable(FleetError):
    """A change needs private keys that are not available on this machine."""


class NoEarlierRelease(FleetError):
    """A rollback has no earlier release to return to."""


class DataRefusal(Refusal, DataError):
    """Validation rejects rows: they must not be used for training."""

    exit_code = 4


class SearchRefusal(Refusal, SearchError):
    """No candidate of the search meets the bounds."""

    exit_code = 4


class GateRefusal(Refusal, LatencyError):
    """A verification gate is red, or its evidence is not a measurement on the target."""

    exit_code = 4


class PromotionRefusal(Refusal, RegistryError):
    """A promotion gate is red: the champion is not replaced."""


class RolloutRefusal(Refusal, FleetError):
    """Too many devices failed: the roll-out is stopped."""

    exit_code = 4


class ReproductionRefusal(Refusal, RegistryError):
    """A reproduced run has different digests."""

    exit_code = 4


class TrackingUnavailable(Transient, RegistryError):
    """The tracking server does not respond."""


class StageBusy(Transient, LockedError):
    """Another process runs the stage, or holds DVC's lock."""


class WorkspaceBusy(Transient, LockedError):
    """Another pipeline runs in the workspace."""


def _subclasses(base: type[NasError]) -> Iterator[type[NasError]]:
    yield base
    for cls in base.__subclasses__():
        if cls.__module__ == __name__:
            yield from _subclasses(cls)


ERRORS: dict[str, type[NasError]] = {cls.__name__: cls for cls in _subclasses(NasError)}
"""Name -> class, for all classes of this module. A failing stage writes the name of its error to error.json, and the
flow raises that error again."""
