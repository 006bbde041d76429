from __future__ import annotations

from pathlib import Path

import optuna

from nas_pipeline.search.optuna_internals import CHECKED_WITH, live_trial
from nas_pipeline.search.study import open_study


def test_the_installed_optuna_is_the_one_that_was_checked() -> None:
    assert optuna.__version__.startswith(f"{CHECKED_WITH}.")


def test_an_unfinished_trial_is_continued_from_another_handle_of_the_study(tmp_path: Path) -> None:
    url = f"journal://{tmp_path / 'a.log'}"
    study = open_study(url, "s", ["maximize"])
    study.ask()
    study.ask().suggest_categorical("width", [8, 16])
    width = study.trials[1].params["width"]
    second = open_study(url, "s", ["maximize"])
    trial = live_trial(second, 1)
    trial.set_user_attr("note", "continued")
    assert trial.number == 1
    assert trial.suggest_categorical("width", [8, 16]) == width
    trial.suggest_float("rate", 0.0, 1.0)
    second.tell(trial, 1.0)
    finished = open_study(url, "s", ["maximize"]).trials[1]
    assert finished.state == optuna.trial.TrialState.COMPLETE
    assert finished.user_attrs["note"] == "continued"
    assert set(finished.params) == {"width", "rate"}
