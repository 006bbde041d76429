"""Runs a search: workers of one thread each, their trials reported as they end, resumable after any kill.

The working state (journal, spend) lives in `folder`, keyed by the study's name; what leaves is a list of rows.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
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
from nas_pipeline.search.ledger import Row, derivations_of, describe, row_of, rows_of
from nas_pipeline.search.objectives import Aim
from nas_pipeline.search.protocols import Evaluator, Strategy
from nas_pipeline.search.strategies.random import Random
from nas_pipeline.search.study import exclusive, open_study, stale_trials, study_name
from nas_pipeline.search.worker import Job, spend, work
from nas_pipeline.train.workers import start_worker, stop_workers

logger = logging.getLogger(__name__)

_POLL_S = 0.5


@dataclass(frozen=True)
class Search:
    """A search to be run. Its key names the study; equal keys resume each other."""

    space: SearchSpace
    strategy: Strategy
    strategy_name: str
    evaluator: Evaluator
    aim: Aim
    constraints: tuple[Constraint, ...]
    budget: Budget
    seed: int
    workers: int
    folder: Path
    storage: str | None = None
    """SQLAlchemy URL; None means a journal file in `folder`."""
    pruner: BasePruner | None = None
    max_failed: float = 0.5
    """Share of failed trials from which the search gives up."""
    rung: int = 0
    code: str = ""
    """Digest of the code that computes scores; part of the study's name."""

    def key(self) -> dict[str, object]:
        """Everything that a trial's outcome or proposal depends on, but not the budget: a larger one goes on."""
        return {
            "space": [self.space.name, self.space.version, vars(self.space)],
            "strategy": [self.strategy_name, vars(self.strategy)],
            "evaluator": self.evaluator.key(),
            "aim": self.aim.to_json(),
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
        """Where Optuna keeps the study."""
        return self.storage or f"journal://{self.folder / self.name / 'journal.log'}"


Progress = Callable[[int, int | None, float | None, str], None]
"""(trials done, trials in all, seconds left, line)"""


def run_search(search: Search, queue: Sequence[Genotype] = (), progress: Progress = lambda *_: None) -> list[Row]:
    """Run or resume `search`; return all its trials.

    Args:
        search: What to search, how, and for how long.
        queue: Candidates to score before the strategy is asked.
        progress: Called whenever a trial ends.

    Raises:
        SearchError: Workers died, or too many trials failed; the message carries the first failure.
    """
    folder, url = search.folder / search.name, search.url
    with exclusive(folder / "driver.lock"):
        study = open_study(url, search.name, search.aim.directions)
        if not study.get_trials(deepcopy=False):
            for genotype in queue:
                study.enqueue_trial(genotype.as_dict())
        before = Spend(wall_s=_wall_so_far(folder))
        job = Job(url, search.name, search.space, search.strategy, search.evaluator, search.aim, search.constraints,
                  search.budget, search.seed, folder / "ask.lock", search.pruner)
        _drive(search, job, study, before, folder, progress)
        rows = rows_of(study, search.rung)
    _judge(rows, search.max_failed)
    return rows


def score_all(search: Search, genotypes: Sequence[Genotype], progress: Progress = lambda *_: None) -> list[Row]:
    """Score exactly these candidates, resumably: a study whose trials are all queued."""
    fixed = replace(search, strategy=Random(), strategy_name="fixed", budget=Budget(trials=len(genotypes)))
    return run_search(fixed, genotypes, progress)


def derivations(search: Search) -> list[Row]:
    """What the searches inside the trials of a finished `search` noted; empty for strategies that only propose."""
    return derivations_of(open_study(search.url, search.name, search.aim.directions))


def _drive(
    search: Search, job: Job, study: optuna.Study, before: Spend, folder: Path, progress: Progress
) -> None:
    left = stale_trials(study)
    shares = [tuple(left[i :: search.workers]) for i in range(search.workers)]
    told = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    if told:
        logger.info("the search goes on: %d trials are done, %d are taken up again", len(told), len(left))
    if not left and job.budget.exceeded_by(spend(study, before)):
        return
    start = time.monotonic()
    workers = [start_worker(work, job, share, before) for share in shares]
    try:
        while True:
            alive = [worker for worker in workers if worker.alive]
            wall = before.wall_s + time.monotonic() - start
            write_json(folder / "spend.json", {"wall_s": wall})
            _report(search, study, told, wall, progress)
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
    _report(search, study, told, before.wall_s + time.monotonic() - start, progress)
    if error := next((error for worker in workers if (error := worker.error())), None):
        raise error
    if any(worker.exitcode not in (0, -signal.SIGTERM) for worker in workers):
        codes = ", ".join(str(worker.exitcode) for worker in workers)
        raise SearchError(f"a search worker died (exit codes {codes}); the same command goes on where it stopped")


def _report(search: Search, study: optuna.Study, told: set[int], wall: float, progress: Progress) -> None:
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state.is_finished() and trial.number not in told:
            told.add(trial.number)
            total = search.budget.trials
            left = wall / len(told) * (total - len(told)) if total else None
            line = describe(row_of(trial, search.rung))
            logger.info("%s", line)
            progress(len(told), total, left, line)


def _cut_off(study: optuna.Study) -> None:
    """Trials that the wall clock interrupted are failed ones, with that reason."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, "failure", "cut off: the wall-clock budget was spent")
        study.tell(trial.number, state=TrialState.FAIL)


def _judge(rows: list[Row], max_failed: float) -> None:
    failed = [row for row in rows if row["state"] == "fail" and not row["failure"].startswith("cut off")]
    if rows and len(failed) > max_failed * len(rows):
        raise SearchError(f"{len(failed)} of {len(rows)} trials failed; the first: {failed[0]['failure']}")


def _wall_so_far(folder: Path) -> float:
    path = folder / "spend.json"
    return float(read_json(path)["wall_s"]) if path.exists() else 0.0

