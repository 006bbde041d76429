"""A worker: asks for a candidate, scores it, tells the study, until the budget is spent.

The strategy is made anew for each trial, seeded by the trial's number, so its only state is the storage. A trial whose
worker died is taken up again under its own number: a resumed search asks what an undisturbed one asks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.measures import Budget, Constraint, Spend
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import Refusal
from nas_pipeline.search.objectives import Aim
from nas_pipeline.search.protocols import Evaluator, GradientSearch, Metrics, Score, Strategy
from nas_pipeline.search.study import exclusive, identity, open_study
from nas_pipeline.search.trial_chooser import GivenSampler, TrialChooser
from nas_pipeline.space.choosers import DecisionRecorder
from nas_pipeline.train.randomness import seed_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything a worker needs; it is pickled to a process of its own."""

    storage: str
    study: str
    space: SearchSpace
    strategy: Strategy
    evaluator: Evaluator
    aim: Aim
    constraints: tuple[Constraint, ...]
    budget: Budget
    seed: int
    lock: Path
    pruner: BasePruner | None = None
    """Early stopping; only for one objective (Optuna has no other)."""


def work(job: Job, adopted: tuple[int, ...] = (), spent_before: Spend | None = None) -> None:
    """Score the `adopted` trials, then new ones until the budget is spent."""
    study = open_study(job.storage, job.study, job.aim.directions)
    study.pruner = job.pruner or optuna.pruners.NopPruner()
    for number in adopted:
        _run(job, study, _take_up(job, study, number))
    while (trial := _ask(job, study, spent_before or Spend())) is not None:
        _run(job, study, trial)


def spend(study: optuna.Study, before: Spend) -> Spend:
    """What the study has used: its trials, their device seconds; wall seconds are the driver's to count."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    device_s = sum(t.user_attrs.get("device_s", 0.0) for t in trials)
    return Spend(trials=len(trials), wall_s=before.wall_s, device_s=before.device_s + device_s)


def _ask(job: Job, study: optuna.Study, before: Spend) -> optuna.trial.Trial | None:
    with exclusive(job.lock):
        used = spend(study, before)
        if job.budget.exceeded_by(used):
            return None
        study.sampler = job.strategy.sampler(_seed(job.seed, used.trials))
        trial = study.ask()
        trial.set_user_attr("worker", identity())
        if not isinstance(job.strategy, GradientSearch):
            _decide(job, trial, partial(_sampler, job, used.trials))
        return trial


def _take_up(job: Job, study: optuna.Study, number: int) -> optuna.trial.Trial:
    """The orphaned trial `number` as a live one: its known decisions are replayed, missing ones sampled."""
    with exclusive(job.lock):
        started = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        orphan = next(t for t in started if t.number == number)
        asked_before = sum(t.number < number for t in started)
        study.sampler = job.strategy.sampler(_seed(job.seed, asked_before))
        # Optuna offers no other way to go on with a trial that is already in the storage.
        trial = optuna.trial.Trial(study, orphan._trial_id)
        trial.set_user_attr("worker", identity())
        if not isinstance(job.strategy, GradientSearch):
            _decide(job, trial, partial(_sampler, job, asked_before))
        logger.info("trial %d is taken up again: its worker had died", number)
        return trial


def _sampler(job: Job, number: int, decision: str) -> BaseSampler:
    return job.strategy.sampler(_seed(job.seed, number, decision))


def _decide(job: Job, trial: optuna.trial.Trial, sampler_for: Callable[[str], BaseSampler]) -> None:
    recorder = DecisionRecorder(TrialChooser(trial, sampler_for))
    job.space.decide(recorder)
    genotype = Genotype(job.space.name, job.space.version, tuple(recorder.genes))
    trial.set_user_attr("genotype", genotype.to_json())
    trial.set_user_attr("genotype_id", genotype.id)


def _derive(job: Job, trial: optuna.trial.Trial) -> float:
    """Let the strategy search, and answer the trial's decisions with what it found; returns the device seconds.

    Outside the lock: it takes minutes. The seed is the trial's number, so seeds are 0, 1, 2, ...
    """
    assert isinstance(job.strategy, GradientSearch)
    derived = job.strategy.derive(job.seed + trial.number, job.lock.parent / f"trial-{trial.number}")
    genes = derived.genotype.as_dict()
    _decide(job, trial, lambda name: GivenSampler(genes))
    trial.set_user_attr("derivation", {"rows": derived.rows, "decisions": derived.decisions})
    trial.set_user_attr("derive_device_s", derived.device_s)
    return derived.device_s


def _run(job: Job, study: optuna.Study, trial: optuna.trial.Trial) -> None:
    derive_s = 0.0
    if isinstance(job.strategy, GradientSearch):
        try:
            derive_s = _derive(job, trial)
        except Refusal:
            raise  # of every seed's bounds alike
        except Exception as error:
            _fail(trial, study, _told(error, job))
            return
    genotype = Genotype.from_json(trial.user_attrs["genotype"])
    duplicate = _twin(study, trial, genotype)
    if duplicate is not None:
        trial.set_user_attr("same_as", duplicate.number)
        score = Score(duplicate.user_attrs["metrics"], 0.0, curve=duplicate.user_attrs.get("curve", []))
    else:
        score = _evaluate(job, trial, genotype)
    trial.set_user_attr("device_s", derive_s + score.device_s)
    trial.set_user_attr("metrics", score.metrics)
    trial.set_user_attr("curve", score.curve)
    if score.failure:
        _fail(trial, study, score.failure)
    elif score.stopped_early:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        for constraint in job.constraints:
            trial.set_constraint(constraint.metric, constraint.violation(score.metrics))
        study.tell(trial, job.aim.values(score.metrics))


def _evaluate(job: Job, trial: optuna.trial.Trial, genotype: Genotype) -> Score:
    seen = 0

    def on_evaluation(metrics: Metrics) -> bool:
        nonlocal seen
        step, seen = seen, seen + 1
        if job.pruner is None:
            return True
        if step not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(job.aim.values(metrics)[0], step)
        return not trial.should_prune()

    try:
        return job.evaluator.evaluate(genotype, on_evaluation)
    except Exception as error:
        return Score({}, 0.0, failure=_told(error, job))


def _told(error: Exception, job: Job) -> str:
    """One candidate's trouble as words: it is a trial state; the driver counts them and judges.

    Raises:
        Exception: `error` itself, where the disk is to blame: once there is room again, the trial is taken up again.
    """
    if storage_error(error, job.lock.parent):
        raise error
    logger.debug("a trial failed", exc_info=error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def _fail(trial: optuna.trial.Trial, study: optuna.Study, why: str) -> None:
    trial.set_user_attr("failure", why)
    study.tell(trial, state=TrialState.FAIL)


def _twin(study: optuna.Study, trial: optuna.trial.Trial, genotype: Genotype) -> FrozenTrial | None:
    """An earlier, completed trial of the same architecture: it need not be trained twice."""
    for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if other.number < trial.number and other.user_attrs.get("genotype_id") == genotype.id:
            return other
    return None


def _seed(seed: int, number: int, decision: str = "") -> int:
    return seed_of(f"{seed}/trial/{number}/{decision}") % 2**31
