"""params.yaml: every wrong key and value is named, overlays merge, every profile fits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import _yaml as dvc_yaml

from nas_pipeline.config.params import compose, dump_yaml, load_params, overlay, parse_params, parse_yaml
from nas_pipeline.config.schema.search import ParetoObjectiveSection, WeightedObjectiveSection
from nas_pipeline.errors import ConfigError
from nas_pipeline.train.recipe import Recipe
from tests.pipeline.small_project import PARAMS, write_project

REPO = Path(__file__).resolve().parents[3]
PROFILES = sorted(path.stem for path in (REPO / "profiles").glob("*.yaml"))


def changed(key: str, value: Any) -> dict[str, Any]:
    """The small parameters with one value replaced; `...` takes the key away."""
    params = copy.deepcopy(PARAMS)
    *way, last = key.split(".")
    inside = params
    for part in way:
        inside = inside[part]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return params


def complaints(params: Any) -> list[str]:
    """The message's lines below its heading."""
    with pytest.raises(ConfigError) as caught:
        parse_params(params, "params.yaml")
    heading, *lines = str(caught.value).splitlines()
    assert heading == f"params.yaml has {len(lines)} error(s):"
    return [line.strip() for line in lines]


def test_the_small_project_is_read_as_it_stands(tmp_path: Path) -> None:
    params = load_params(write_project(tmp_path))
    assert params.search.budget.trials == 4
    assert params.search.latency_runs == 40, "what is not given has its default"
    assert isinstance(params.search.objective, ParetoObjectiveSection)
    assert params.train.as_recipe() == Recipe(batch_size=32, learning_rate=0.05, precision="fp32", flip=False)
    device = params.targets["far"].device("far")
    assert (device.name, device.probe, device.host_factor, device.opset) == ("far", "proxy", 4.0, 20)


def test_sections_cannot_be_changed(tmp_path: Path) -> None:
    params = load_params(write_project(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        params.search.budget.trials = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("serach", {}, "serach: there is no such key; did you mean search?"),
        ("search.latency_headrom", 0.5, "search.latency_headrom: there is no such key; did you mean latency_headroom?"),
        ("search.budget.trails", 3, "search.budget.trails: there is no such key; did you mean trials?"),
        ("search.objective.early_stoping", "asha", "search.objective.early_stoping: there is no such key; did you mean "
                                             "early_stopping?"),
        ("targets.here.treads", 2, "targets.here.treads: there is no such key; did you mean threads?"),
        ("data.xqzw", 1, "data.xqzw: there is no such key; data has: calib, limit, seed, source, test, val"),
        ("data.latency_headroom", 1, "data.latency_headroom: there is no such key; did you mean "
                                     "search.latency_headroom?"),
        ("verify.warmpu", 1, "verify.warmpu: there is no such key; did you mean warmup?"),
        ("targets.here.latency_ms", float("inf"), "targets.here.latency_ms: Input should be a finite number, got inf"),
        ("targets.here.min_accuracy", float("nan"), "targets.here.min_accuracy: Input should be a finite number, "
                                                    "got nan"),
        ("data", None, "data: Input should be a valid dictionary or instance of DataSection, got None"),
        ("search.objective.objectives", {}, "search.objective: objectives is empty: name at least one metric with "
                                            "maximize or minimize"),
        ("search.space", ..., "search.space: missing"),
        ("targets.here.probe", ..., "targets.here.probe: missing"),
        ("data.val", "200", "data.val: a number of images (1 or more) or a share of them (like 0.15), got '200'"),
        ("validation.findings", {"blured": {}}, "validation: unknown finding 'blured' (did you mean 'blurred'?)"),
        ("data.val", 200.5, "data.val: a number of images (1 or more) or a share of them (like 0.15), got 200.5"),
        ("data.val", True, "data.val: a number of images (1 or more) or a share of them (like 0.15), got True"),
        ("search.latency_headroom", "much", "search.latency_headroom: Input should be a valid number, got 'much'"),
        ("search.latency_headroom", 1.5, "search.latency_headroom: Input should be less than or equal to 1, got 1.5"),
        ("search.budget.trials", 0, "search.budget.trials: Input should be greater than or equal to 1, got 0"),
        ("targets.here.opset", 9, "targets.here.opset: Input should be greater than or equal to 18, got 9"),
        ("targets.here.latency_ms", 0, "targets.here.latency_ms: Input should be greater than 0, got 0"),
        ("targets.here.precision", "fp16", "targets.here.precision: Input should be 'auto', 'fp32' or 'int8', "
                                           "got 'fp16'"),
        ("search.budget", {}, "search.budget: give at least one of trials, wall_s, device_s: a search must end"),
        ("retrain.device_s", 5.0, "retrain: give exactly one of device_s and epochs"),
        ("targets", {}, "the file: targets is empty: name at least one device class with its bounds"),
        ("train.recipe.warmup", 1.5, "train: recipe: warmup: Input should be less than 1, got 1.5"),
        ("train.recipe.batch_size", 2.5, "train: recipe: batch_size: Input should be a valid integer, got 2.5"),
        ("train.recipe.flip", "no", "train: recipe: flip: Input should be a valid boolean, got 'no'"),
    ],
)
def test_each_mistake_is_one_line_with_its_key(key: str, value: Any, line: str) -> None:
    assert complaints(changed(key, value)) == [line]


def test_an_unknown_recipe_key_is_named_with_the_nearest_one() -> None:
    (line,) = complaints(changed("train.recipe.learning_rat", 0.1))
    assert "'train.recipe' has no option 'learning_rat' (did you mean 'learning_rate'?)" in line


def test_a_recipe_value_of_another_type_is_no_crash() -> None:
    (line,) = complaints(changed("train.recipe.learning_rate", "fast"))
    assert line.startswith("train: ")


def test_a_target_must_be_fit_for_a_name() -> None:
    (line,) = complaints(changed("targets.Raspberry_Pi", PARAMS["targets"]["here"]))
    assert line.startswith("targets.Raspberry_Pi.[key]: String should match pattern")


def test_all_mistakes_are_told_at_once() -> None:
    params = changed("search.budget.trials", 0)
    params["serach"], params["data"]["val"] = {}, "200"
    lines = complaints(params)
    assert sorted(line.partition(":")[0] for line in lines) == ["data.val", "search.budget.trials", "serach"]


@pytest.mark.parametrize(("text", "value"), [
    ("1e-3", 0.001), ("5e-2", 0.05), ("3E+6", 3000000.0), ("no", "no"), ("010", 10), ("1_000", 1000), ("on", "on"),
])
def test_yaml_is_read_as_dvc_reads_it(text: str, value: Any) -> None:
    assert parse_yaml(f"x: {text}", "a text") == {"x": value}
    assert dvc_yaml.parse_yaml(f"x: {text}", "a text") == {"x": value}
    assert parse_yaml(dump_yaml({"x": value}), "a text") == {"x": value}


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_told_so(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml must hold a mapping of sections, not"):
        parse_params(value, "params.yaml")


def test_broken_yaml_is_named_with_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data:\n  val: 3\n  calib: [1, 2\nsearch: {}\n")
    with pytest.raises(ConfigError, match=r"params\.yaml is not YAML: (?s:.*)line 4, column \d+"):
        load_params(tmp_path)


def test_a_key_that_is_there_twice_is_not_silently_the_last(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data:\n  val: 3\n  val: 4\n")
    with pytest.raises(ConfigError, match=r"params\.yaml is not YAML: line 3, column 3: a key is there twice"):
        load_params(tmp_path)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("# naïve\ndata: {}\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not UTF-8 \(byte 4\); save it as UTF-8"):
        load_params(tmp_path)


def test_a_folder_of_that_name_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"params\.yaml is a folder"):
        load_params(tmp_path)


def test_a_missing_file_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml does not exist; run this in the folder of the project"):
        load_params(tmp_path)


def test_overlay_merges_mappings_and_replaces_all_else() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert overlay(base, {"a": {"c": [3]}, "e": None}) == {"a": {"b": 1, "c": [3]}, "d": 4, "e": None}
    assert overlay(base, {"a": 5}) == {"a": 5, "d": 4}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}, "the lower one stays as it was"


def test_another_plug_in_does_not_inherit_options() -> None:
    base = {"strategy": {"name": "nsga2", "options": {"population": 6}}}
    assert overlay(base, {"strategy": {"name": "random"}}) == {"strategy": {"name": "random"}}
    same = overlay(base, {"strategy": {"name": "nsga2", "options": {"mutation": 0.1}}})
    assert same == {"strategy": {"name": "nsga2", "options": {"population": 6, "mutation": 0.1}}}
    assert overlay(base, {"strategy": {"options": {"population": 2}}})["strategy"]["options"] == {"population": 2}


def project(root: Path, profile: str = "search: {budget: {trials: 2}}") -> Path:
    write_project(root)
    (root / "profiles").mkdir()
    (root / "profiles" / "tiny.yaml").write_text(profile)
    return root


def test_compose_lays_the_profile_and_then_the_overrides_over_the_file(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert yaml.safe_load(compose(root, "default")) == PARAMS
    assert yaml.safe_load(compose(root, "tiny"))["search"]["budget"] == {"trials": 2}
    text = compose(root, "tiny", ("search.budget.trials=3", "search.strategy.name=random", "retrain.baselines=[]"))
    composed = yaml.safe_load(text)
    assert composed["search"]["budget"] == {"trials": 3}
    assert composed["search"]["strategy"] == {"name": "random"}
    assert composed["retrain"]["baselines"] == []
    assert composed["data"] == PARAMS["data"]
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path).search.budget.trials == 3


def test_another_kind_of_aim_can_be_set(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "params.yaml").write_text(compose(root, "default", ("search.objective.kind=weighted",)))
    assert load_params(root).search.objective == WeightedObjectiveSection(kind="weighted")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.budget.trials", r"--set takes key\.path=value, .* got 'search\.budget\.trials'"),
        ("=3", "--set takes"),
        ("search.budget.trials=[", "--set search.budget.trials=.*: the value is not YAML"),
        ("search.budget.trials=many", "search.budget.trials: Input should be a valid integer, got 'many'"),
        ("search.budget.trails=3", "did you mean trials?"),
    ],
)
def test_a_wrong_override_is_explained(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(project(tmp_path), "tiny", (override,))


def test_an_unknown_profile_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown profile 'tinny'; profiles/ has: default, tiny"):
        compose(project(tmp_path), "tinny")


def test_a_wrong_key_in_a_profile_names_the_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)params\.yaml with profile tiny has 1 error.*serach"):
        compose(project(tmp_path, "serach: {}"), "tiny")


def test_the_profiles_to_be_tested_are_there() -> None:
    assert {"smoke", "full"} <= set(PROFILES)


@pytest.mark.parametrize("profile", ["default", *PROFILES])
def test_every_profile_fits_over_params_yaml(tmp_path: Path, profile: str) -> None:
    (tmp_path / "params.yaml").write_text(compose(REPO, profile))
    composed, default = load_params(tmp_path), load_params(REPO)
    assert set(composed.targets) == set(default.targets)
    assert (composed == default) == (profile == "default")
