"""Runs a search: worker processes of one thread each, progress reports, continuation after any interruption.

The working state (journal, wall-clock time used) is in `folder`, under the study's name; the result is a list of rows.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.measures import Budget, Constraint, Spend
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import SearchError
from nas_pipeline.search.ledger import TrialRow, derivations_of, describe, row_of, rows_of
from nas_pipeline.search.objectives import ObjectiveFunction
from nas_pipeline.search.optuna_internals import live_trial
from nas_pipeline.search.protocols import Evaluator, FailureKind, ProgressCallback, SamplerStrategy, Strategy
from nas_pipeline.search.strategies.random import Random
from nas_pipeline.search.study import exclusive, open_study, stale_trials, study_name
from nas_pipeline.search.worker import Job, spend, work
from nas_pipeline.train.workers import start_worker, stop_workers

logger = logging.getLogger(__name__)

_POLL_S = 0.5


@dataclass(frozen=True)
class Search:
    """The settings of a search. Its key names the study; searches with equal keys continue each other."""

    space: SearchSpace
    strategy: Strategy
    strategy_name: str
    """The strategy's name in the catalogue, or what the trials are for: `fixed`."""
    evaluator: Evaluator
    objective: ObjectiveFunction
    constraints: tuple[Constraint, ...]
    budget: Budget
    seed: int
    workers: int
    folder: Path
    storage: str | None = None
    """SQLAlchemy URL; None means a journal file in `folder`."""
    pruner: BasePruner | None = None
    max_failed: float = 0.5
    """Share of failed trials above which the search ends with an error."""
    rung: int = 0
    code: str = ""
    """Digest of the code that computes scores; part of the study's name."""

    def key(self) -> dict[str, object]:
        """Everything that a proposal or a score depends on. The budget is left out: a larger one adds trials."""
        return {
            "space": self.space.key(),
            "strategy": {"row": self.strategy_name, **self.strategy.key()},
            "evaluator": self.evaluator.key(),
            "objective": self.objective.to_json(),
            "constraints": [[c.metric, c.at_most, c.at_least] for c in self.constraints],
            "early_stopping": type(self.pruner).__name__,
            "seed": self.seed,
            "rung": self.rung,
            "code": self.code,
        }

    @property
    def name(self) -> str:
        """The study's name."""
        return study_name(self.key())

    @property
    def url(self) -> str:
        """Address of the study's storage."""
        return self.storage or f"journal://{self.folder / self.name / 'journal.log'}"


def run_search(
    search: Search, queue: Sequence[Genotype] = (), progress: ProgressCallback = lambda *_: None
) -> list[TrialRow]:
    """Runs or resumes `search`; returns all its trials.

    Args:
        search: What to search, how, and for how long.
        queue: Candidates to score before the strategy proposes any; only with a strategy that is a sampler.
        progress: Called whenever a trial ends.

    Raises:
        SearchError: Workers died, or too many trials failed; the message contains the first failure.
    """
    if queue and not isinstance(search.strategy, SamplerStrategy):
        raise SearchError(f"candidates can be queued for sampler strategies only, not for {search.strategy_name!r}")
    folder, url = search.folder / search.name, search.url
    with exclusive(folder / "driver.lock"):
        study = open_study(url, search.name, search.objective.directions)
        if not study.get_trials(deepcopy=False):
            for genotype in queue:
                study.enqueue_trial(genotype.as_dict())
        before = Spend(wall_s=_wall_so_far(folder))
        job = Job(url, search.name, search.space, search.strategy, search.evaluator, search.objective,
                  search.constraints, search.budget, search.seed, folder / "ask.lock", search.pruner)
        _drive(search, job, study, before, folder, progress)
        rows = rows_of(study, search.rung)
    _check_failures(rows, search.max_failed)
    return rows


def score_all(
    search: Search, genotypes: Sequence[Genotype], progress: ProgressCallback = lambda *_: None
) -> list[TrialRow]:
    """Scores exactly these candidates, resumably: a study whose trials are all queued."""
    fixed = replace(search, strategy=Random(), strategy_name="fixed", budget=Budget(trials=len(genotypes)))
    return run_search(fixed, genotypes, progress)


def derivations(search: Search) -> list[TrialRow]:
    """Returns the records of the gradient searches inside the trials of a finished `search`; empty without any."""
    return derivations_of(open_study(search.url, search.name, search.objective.directions))


def _drive(
    search: Search, job: Job, study: optuna.Study, before: Spend, folder: Path, progress: ProgressCallback
) -> None:
    orphans = stale_trials(study)
    shares = [tuple(orphans[i :: search.workers]) for i in range(search.workers)]
    reported = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    if reported:
        logger.info("the search is resumed: %d trials are finished, %d are continued", len(reported), len(orphans))
    if not orphans and job.budget.exceeded_by(spend(study, before)):
        return
    start = time.monotonic()
    workers = [start_worker(work, job, share, before) for share in shares]
    try:
        while True:
            alive = [worker for worker in workers if worker.alive]
            wall = before.wall_s + time.monotonic() - start
            write_json(folder / "spend.json", {"wall_s": wall})
            _report(search, study, reported, wall, progress)
            if not alive:
                break
            if search.budget.wall_s is not None and wall >= search.budget.wall_s:
                logger.info("the search stops: its wall-clock budget of %.0f s is spent", search.budget.wall_s)
                stop_workers(alive)
                _cut_off(study)
                break
            time.sleep(_POLL_S)
    finally:
        stop_workers(workers)
    _report(search, study, reported, before.wall_s + time.monotonic() - start, progress)
    if error := next((error for worker in workers if (error := worker.error())), None):
        raise error
    if any(worker.exitcode not in (0, -signal.SIGTERM) for worker in workers):
        codes = ", ".join(str(worker.exitcode) for worker in workers)
        raise SearchError(f"a search worker died (exit codes {codes}); run the same command again to resume the search")


def _report(
    search: Search, study: optuna.Study, reported: set[int], wall: float, progress: ProgressCallback
) -> None:
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state.is_finished() and trial.number not in reported:
            reported.add(trial.number)
            total = search.budget.trials
            left = wall / len(reported) * (total - len(reported)) if total else None
            line = describe(row_of(trial, search.rung))
            logger.info("%s", line)
            progress(len(reported), total, left, line)


def _cut_off(study: optuna.Study) -> None:
    """Marks the trials that the end of the wall-clock budget interrupted."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        live = live_trial(study, trial.number)
        live.set_user_attr("failure", "cut off: the wall-clock budget was spent")
        live.set_user_attr("failure_kind", FailureKind.CUT_OFF.value)
        study.tell(trial.number, state=TrialState.FAIL)


def _check_failures(rows: list[TrialRow], max_failed: float) -> None:
    failed = [row for row in rows if row["state"] == "fail" and row["failure_kind"] != FailureKind.CUT_OFF]
    if rows and len(failed) > max_failed * len(rows):
        raise SearchError(f"{len(failed)} of {len(rows)} trials failed; the first: {failed[0]['failure']}")


def _wall_so_far(folder: Path) -> float:
    path = folder / "spend.json"
    return float(read_json(path)["wall_s"]) if path.exists() else 0.0
