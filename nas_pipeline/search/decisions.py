"""How each kind of strategy makes the decisions of a trial: one function per kind.

Samplers and proposers decide when a trial is created, under the lock of the study, because they read its history.
A gradient search decides when the trial runs, without the lock, because it takes minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.errors import SpaceError
from nas_pipeline.search.objectives import Goal
from nas_pipeline.search.protocols import GradientSearch, PastTrial, Proposer, SamplerStrategy, Strategy
from nas_pipeline.search.trial_chooser import GenotypeSampler, SamplerFor, TrialChooser
from nas_pipeline.space.choosers import DecisionRecorder
from nas_pipeline.train.randomness import seed_of

_PROPOSAL = "proposal"
"""User attribute of a trial: the genotype that a proposer returned for it."""


def trial_seed(seed: int, number: int, decision: str = "") -> int:
    """Returns the seed for one decision of one trial of a search with the seed `seed`."""
    return seed_of(f"{seed}/trial/{number}/{decision}") % 2**31


def study_sampler(strategy: Strategy, seed: int, number: int) -> BaseSampler:
    """Returns the sampler that the study has while trial `number` is created."""
    if isinstance(strategy, SamplerStrategy):
        return strategy.sampler(trial_seed(seed, number))
    return RandomSampler(seed=trial_seed(seed, number))  # never used: all decisions of the trial are given


def decide_new_trial(
    strategy: Strategy, space: SearchSpace, trial: optuna.trial.Trial, directions: Sequence[Goal], seed: int,
    number: int,
) -> None:
    """Makes the decisions of a trial that was just created or is continued. The caller holds the study's lock.

    Args:
        strategy: Of any kind; a gradient search decides later, in `decide_by_search`.
        space: Where the decisions come from.
        trial: Decisions that it already has are replayed.
        directions: Of the values of the study.
        seed: Of the search.
        number: How many trials were created before this one.

    Raises:
        SpaceError: A proposer returned a genotype that is not a member of `space`.
    """
    if isinstance(strategy, SamplerStrategy):
        record_decisions(space, trial, lambda decision: strategy.sampler(trial_seed(seed, number, decision)))
    elif isinstance(strategy, Proposer):
        proposal = trial.user_attrs.get(_PROPOSAL)
        if proposal is None:
            history = past_trials(trial.study, directions)
            proposal = strategy.propose(space, history, trial_seed(seed, number)).to_json()
            trial.set_user_attr(_PROPOSAL, proposal)
        _record_genotype(space, trial, Genotype.from_json(proposal))


def decide_by_search(
    strategy: GradientSearch, space: SearchSpace, trial: optuna.trial.Trial, seed: int, folder: Path
) -> float:
    """Runs a gradient search and makes the decisions of its result; returns its device seconds.

    Args:
        strategy: Runs with the seed `seed` + number of the trial, so that the seeds are consecutive.
        space: Where the decisions come from.
        trial: A trial without decisions.
        seed: Of the search.
        folder: For the working state of the gradient search.

    Raises:
        SearchRefusal: No genotype meets the bounds.
    """
    derived = strategy.derive(seed + trial.number, folder)
    _record_genotype(space, trial, derived.genotype)
    trial.set_user_attr("derivation", {"rows": derived.rows, "decisions": derived.decisions})
    trial.set_user_attr("derive_device_s", derived.device_s)
    return derived.device_s


def past_trials(study: optuna.Study, directions: Sequence[Goal]) -> list[PastTrial]:
    """Returns the completed trials of `study` in the order of their numbers."""
    signs = [1 if direction == "minimize" else -1 for direction in directions]
    return [
        PastTrial(
            trial.number, Genotype.from_json(trial.user_attrs["genotype"]), trial.user_attrs.get("metrics", {}),
            tuple(sign * value for sign, value in zip(signs, trial.values, strict=True)),
            {name: value for name, value in trial.constraints.items() if value > 0},
        )
        for trial in sorted(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda t: t.number)
    ]


def record_decisions(space: SearchSpace, trial: optuna.trial.Trial, sampler_for: SamplerFor) -> Genotype:
    """Makes all decisions of `space` with the samplers and writes the genotype to the trial."""
    recorder = DecisionRecorder(TrialChooser(trial, sampler_for))
    space.decide(recorder)
    genotype = recorder.genotype(space)
    trial.set_user_attr("genotype", genotype.to_json())
    trial.set_user_attr("genotype_id", genotype.id)
    return genotype


def _record_genotype(space: SearchSpace, trial: optuna.trial.Trial, genotype: Genotype) -> None:
    genes = genotype.as_dict()
    recorded = record_decisions(space, trial, lambda decision: GenotypeSampler(genes))
    surplus = genes.keys() - recorded.as_dict().keys()
    if surplus or (genotype.space, genotype.version) != (space.name, space.version):
        raise SpaceError(f"the proposed genotype {genotype.id} is not a member of space {space.name!r} version "
                         f"{space.version}: it is of space {genotype.space!r} version {genotype.version}"
                         + (f", with the surplus genes {', '.join(sorted(surplus))}" if surplus else ""))
