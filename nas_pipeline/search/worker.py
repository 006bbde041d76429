"""A worker process: creates a trial, scores its candidate, reports the result to the study, until the budget is spent.

Strategies keep no state between trials: each trial has a seed of its own, derived from its number. A trial whose worker
died is continued under its own number, so a resumed search proposes the same candidates as an undisturbed one.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.measures import Budget, Constraint, Spend
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import Refusal
from nas_pipeline.search.decisions import decide_by_search, decide_new_trial, study_sampler
from nas_pipeline.search.objectives import ObjectiveFunction
from nas_pipeline.search.optuna_internals import live_trial
from nas_pipeline.search.protocols import Evaluator, FailureKind, GradientSearch, Metrics, Score, Strategy
from nas_pipeline.search.study import exclusive, identity, open_study

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs; it is pickled to a separate process."""

    storage: str
    study: str
    space: SearchSpace
    strategy: Strategy
    evaluator: Evaluator
    objective: ObjectiveFunction
    constraints: tuple[Constraint, ...]
    budget: Budget
    seed: int
    lock: Path
    pruner: BasePruner | None = None
    """Early stopping; only for one objective, a limit of Optuna."""


def work(job: Job, adopted: tuple[int, ...] = (), spent_before: Spend | None = None) -> None:
    """Scores the `adopted` trials, then new ones until the budget is spent."""
    study = open_study(job.storage, job.study, job.objective.directions)
    study.pruner = job.pruner or optuna.pruners.NopPruner()
    for number in adopted:
        _run(job, study, _continue_trial(job, study, number))
    while (trial := _new_trial(job, study, spent_before or Spend())) is not None:
        _run(job, study, trial)


def spend(study: optuna.Study, before: Spend) -> Spend:
    """Returns what the study has used: its trials and their device seconds; the driver counts the wall seconds."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    device_s = sum(t.user_attrs.get("device_s", 0.0) for t in trials)
    return Spend(trials=len(trials), wall_s=before.wall_s, device_s=before.device_s + device_s)


def _new_trial(job: Job, study: optuna.Study, before: Spend) -> optuna.trial.Trial | None:
    with exclusive(job.lock):
        used = spend(study, before)
        if job.budget.exceeded_by(used):
            return None
        study.sampler = study_sampler(job.strategy, job.seed, used.trials)
        trial = study.ask()
        trial.set_user_attr("worker", identity())
        decide_new_trial(job.strategy, job.space, trial, job.objective.directions, job.seed, used.trials)
        return trial


def _continue_trial(job: Job, study: optuna.Study, number: int) -> optuna.trial.Trial:
    """Returns the orphaned trial `number` as a live one: its stored decisions are replayed, missing ones are made."""
    with exclusive(job.lock):
        created_before = sum(
            t.number < number for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING
        )
        study.sampler = study_sampler(job.strategy, job.seed, created_before)
        trial = live_trial(study, number)
        trial.set_user_attr("worker", identity())
        decide_new_trial(job.strategy, job.space, trial, job.objective.directions, job.seed, created_before)
        logger.info("trial %d is continued: its worker had died", number)
        return trial


def _run(job: Job, study: optuna.Study, trial: optuna.trial.Trial) -> None:
    derive_s = 0.0
    if isinstance(job.strategy, GradientSearch):
        try:
            folder = job.lock.parent / f"trial-{trial.number}"
            derive_s = decide_by_search(job.strategy, job.space, trial, job.seed, folder)
        except Refusal:
            raise  # the bounds are the same for every seed
        except Exception as error:
            _fail(trial, study, _describe_error(error, job), FailureKind.ERROR)
            return
    genotype = Genotype.from_json(trial.user_attrs["genotype"])
    duplicate = _duplicate_of(study, trial, genotype)
    if duplicate is not None:
        trial.set_user_attr("same_as", duplicate.number)
        score = Score(duplicate.user_attrs["metrics"], 0.0, curve=duplicate.user_attrs.get("curve", []))
    else:
        score = _evaluate(job, trial, genotype)
    trial.set_user_attr("device_s", derive_s + score.device_s)
    trial.set_user_attr("metrics", score.metrics)
    trial.set_user_attr("curve", score.curve)
    if score.failure:
        _fail(trial, study, score.failure, score.failure_kind)
    elif score.stopped_early:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        for constraint in job.constraints:
            trial.set_constraint(constraint.metric, constraint.violation(score.metrics))
        study.tell(trial, job.objective.values(score.metrics))


def _evaluate(job: Job, trial: optuna.trial.Trial, genotype: Genotype) -> Score:
    seen = 0

    def on_evaluation(metrics: Metrics) -> bool:
        nonlocal seen
        step, seen = seen, seen + 1
        if job.pruner is None:
            return True
        if step not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(job.objective.values(metrics)[0], step)
        return not trial.should_prune()

    try:
        return job.evaluator.evaluate(genotype, on_evaluation)
    except Exception as error:
        return Score({}, 0.0, failure=_describe_error(error, job), failure_kind=FailureKind.ERROR)


def _describe_error(error: Exception, job: Job) -> str:
    """Returns the error of one candidate as text; the driver counts failed trials and decides.

    Raises:
        Exception: `error` itself, if the disk is full: once there is space again, the trial is continued.
    """
    if storage_error(error, job.lock.parent):
        raise error
    logger.debug("a trial failed", exc_info=error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def _fail(trial: optuna.trial.Trial, study: optuna.Study, reason: str, kind: FailureKind) -> None:
    trial.set_user_attr("failure", reason)
    trial.set_user_attr("failure_kind", kind.value)
    study.tell(trial, state=TrialState.FAIL)


def _duplicate_of(study: optuna.Study, trial: optuna.trial.Trial, genotype: Genotype) -> FrozenTrial | None:
    """Returns an earlier, completed trial of the same architecture, which need not be trained twice."""
    for earlier in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if earlier.number < trial.number and earlier.user_attrs.get("genotype_id") == genotype.id:
            return earlier
    return None
