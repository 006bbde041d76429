"""Optuna studies: one per key, stored in a journal file (safe for several processes) or a database."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
import psutil
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas_pipeline.core.files import canonical_json, sha256_text
from nas_pipeline.search.journal_lock import KernelLock

optuna.logging.set_verbosity(optuna.logging.WARNING)
logger = logging.getLogger(__name__)

_LOCK_POLL_S = 0.01


def study_name(key: dict[str, Any]) -> str:
    """Returns the name of the study with this key; different keys have different names."""
    return sha256_text(canonical_json(key))[:16]


def open_storage(url: str) -> BaseStorage:
    """Opens `journal:///path`, for one machine, or an SQLAlchemy URL, for several machines."""
    if url.startswith("journal://"):
        path = Path(url.removeprefix("journal://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return JournalStorage(JournalFileBackend(str(path), lock_obj=KernelLock(path)))
    return optuna.storages.RDBStorage(url)


def open_study(url: str, name: str, directions: Sequence[Literal["maximize", "minimize"]]) -> optuna.Study:
    """Opens the study of that name, or creates it. The worker sets a fresh sampler for every trial."""
    return optuna.create_study(
        storage=open_storage(url), study_name=name, directions=directions, load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.NopPruner(),
    )


def identity() -> dict[str, Any]:
    """Returns the identity of this process: enough to find out later whether it is still running."""
    this = psutil.Process()
    return {"host": os.uname().nodename, "pid": this.pid, "started": this.create_time()}


def stale_trials(study: optuna.Study) -> list[int]:
    """Returns the numbers of trials that dead workers left running. It replaces a heartbeat, which journals lack.

    Only the driver calls it, under its lock and before it starts workers. A worker of this host that is still running
    has therefore lost its driver and is killed first. Trials of other hosts are left to their drivers.
    """
    numbers = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get("worker")
        if worker is None or worker["host"] == os.uname().nodename:
            _end(worker)
            numbers.append(trial.number)
    return numbers


def _end(worker: dict[str, Any] | None) -> None:
    if worker is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(worker["pid"])
        if abs(process.create_time() - worker["started"]) < 1:  # otherwise the process id was reused
            process.kill()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(10)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock file of this machine during the block; the kernel releases it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, poll_interval=_LOCK_POLL_S, fallback_to_soft=False):
        yield
