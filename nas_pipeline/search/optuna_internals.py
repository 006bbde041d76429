"""The one place that uses private attributes of Optuna. Checked with Optuna 5.0.0.

Optuna has no public way to continue a trial that is already in the storage, which resuming a search needs: a trial
whose worker died is continued under its own number.
"""

from __future__ import annotations

import optuna

CHECKED_WITH = "5.0"
"""The minor version of Optuna with which the functions of this module were checked."""


def live_trial(study: optuna.Study, number: int) -> optuna.trial.Trial:
    """Returns the unfinished trial `number` of `study` as an object that can be written to.

    The sampler of `study` is used as for a new trial.
    """
    frozen = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    return optuna.trial.Trial(study, frozen._trial_id)
