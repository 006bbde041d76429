"""mlflow/promotion.yaml: the one that ships is valid, overrides of one target, one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_pipeline.errors import ConfigError
from nas_pipeline.gates.policy import FILE, find_policy, read_policy

ROOT = Path(__file__).parents[3]


def written(folder: Path, **changes: Any) -> Path:
    value = yaml.safe_load((ROOT / FILE).read_text())
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**value, **changes}))
    return path


def test_the_policy_of_the_repository_is_valid() -> None:
    policy = read_policy(ROOT / FILE, "local-cpu")
    assert policy.latency_p95_ms == "target"
    assert 0 < policy.champion.margin < 0.1


def test_a_target_may_have_bounds_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, targets={"pi": {"latency_p95_ms": 3.5, "champion": {"margin": 0.05}}})
    assert read_policy(path, "pi").latency_p95_ms == 3.5
    assert read_policy(path, "pi").champion.alpha == read_policy(path, "cpu").champion.alpha
    assert read_policy(path, "cpu").champion.margin == 0.01


def test_every_mistake_is_named_with_the_nearest_key(tmp_path: Path) -> None:
    path = written(tmp_path, int8_dorp=0.1, calibration={"ece": 7}, size_bytes="targett")
    with pytest.raises(ConfigError) as caught:
        read_policy(path, "cpu")
    message = str(caught.value)
    assert str(path) in message
    assert "int8_dorp: there is no such key; did you mean int8_drop?" in message
    assert "calibration.ece: " in message
    assert "size_bytes: " in message


def test_a_mistake_in_another_target_does_not_wait_for_its_turn(tmp_path: Path) -> None:
    path = written(tmp_path, targets={"pi": {"robustness": {"meen_kept": 0.1}}})
    with pytest.raises(ConfigError, match=r"targets\.pi.*\n.*did you mean mean_kept"):
        read_policy(path, "cpu")


@pytest.mark.parametrize("text", ["a: [", "just words", "- 1", "targets: 5"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "promotion.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"promotion\.yaml"):
        read_policy(path, "cpu")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    value = yaml.safe_load((ROOT / FILE).read_text())
    del value["parity"]
    (tmp_path / "promotion.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(ConfigError, match="parity: missing"):
        read_policy(tmp_path / "promotion.yaml", "cpu")


def test_the_nearest_policy_counts(tmp_path: Path) -> None:
    assert find_policy(tmp_path) == ROOT / FILE
    own = written(tmp_path)
    assert find_policy(tmp_path) == own
    (inside := tmp_path / ".nas" / "work" / "smoke").mkdir(parents=True)
    assert find_policy(inside) == own
