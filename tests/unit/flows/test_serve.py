"""Schedules: prefect.yaml defines what is served and deployed, and a port in use is reported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import load_flow_from_entrypoint

from flows import ports
from flows.scheduled import scheduled
from flows.serve import FILE, deployments
from nas_pipeline.config.params import compose
from nas_pipeline.errors import ConfigError

REPO = Path(__file__).resolve().parents[3]
_A = "name: a, entrypoint: flows.scheduled.scheduled"
ROWS = yaml.safe_load((REPO / FILE).read_text())["deployments"]


def test_prefect_can_read_the_file() -> None:
    PrefectYamlModel.model_validate(yaml.safe_load((REPO / FILE).read_text()))


def test_the_served_deployments_are_those_of_the_file() -> None:
    served = {deployment.name: deployment for deployment in deployments(REPO / FILE)}
    assert {"nightly", "weekly"} <= set(served) == {row["name"] for row in ROWS}
    for row in ROWS:
        deployment = served[row["name"]]
        assert deployment.entrypoint == row["entrypoint"]
        assert deployment.parameters == row["parameters"]
        assert [item.schedule.cron for item in deployment.schedules or []] == [row["schedules"][0]["cron"]]  # type: ignore[union-attr]
        assert deployment.concurrency_limit == 1
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy == row["concurrency_limit"]["collision_strategy"]
        assert row["work_pool"]["name"] == "nas"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["name"]))
def test_the_parameters_are_those_of_the_flow(row: dict[str, object]) -> None:
    parameters = row["parameters"]
    assert isinstance(parameters, dict)
    flow = load_flow_from_entrypoint(str(row["entrypoint"]))
    flow.validate_parameters(parameters)
    if flow.fn is scheduled.fn:
        compose(REPO, parameters["profile"], tuple(parameters["overrides"]))


def test_a_deployment_may_run_any_flow(tmp_path: Path) -> None:
    text = ("deployments:\n- {name: a, entrypoint: tests.unit.flows.toy_flow.greet, parameters: {whom: you}, "
            "schedules: [], concurrency_limit: {limit: 1}}\n")
    (tmp_path / FILE).write_text(text)
    (served,) = deployments(tmp_path / FILE)
    assert (served.full_name, served.entrypoint) == ("greet/a", "tests.unit.flows.toy_flow.greet")
    assert served.parameters == {"whom": "you"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\n", "has no deployments"),
        ("deployments:\n- {name: a, schedules: []}\n", "deployment 'a' cannot be read: KeyError: 'entrypoint'"),
        (f"deployments:\n- {{{_A}, schedules: []}}\n", "deployment 'a' cannot be read: KeyError: 'concurrency_limit'"),
        (f"deployments:\n- {{{_A}, schedules: [{{cron: often}}], concurrency_limit: {{limit: 1}}}}\n",
         "deployment 'a'"),
        (f"deployments:\n- {{{_A}, schedules: [], concurrency_limit: {{limit: 1, collision_strategy: WAIT}}}}\n",
         "deployment 'a'"),
        ("deployments:\n- just words\n", "deployment 'just words'"),
        ("deployments:\n- {name: a, entrypoint: flows.nowhere.run}\n",
         "deployment 'a' .*entrypoint 'flows.nowhere.run' names no flow: No module named 'flows.nowhere'"),
        ("deployments:\n- {name: a, entrypoint: flows.scheduled.run}\n",
         "'flows.scheduled.run' names no flow: .*'run'"),
        ("deployments:\n- {name: a, entrypoint: flows.ports.main}\n", "'flows.ports.main' names no flow: .*'main'"),
        ("deployments:\n- {name: a, entrypoint: 'flows/scheduled.py:scheduled'}\n", "is not PACKAGE.MODULE.FLOW"),
        ("deployments:\n- {name: a, entrypoint: }\n", "entrypoint None is not PACKAGE.MODULE.FLOW"),
    ],
)
def test_a_deployment_that_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=words):
        deployments(tmp_path / FILE)


def test_a_port_in_use_is_reported_before_a_server_is_started() -> None:
    with socket.create_server((ports.HOST, 0)) as listener:
        port = listener.getsockname()[1]
        environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
        done = subprocess.run(
            [sys.executable, "-m", "flows.serve", "--port", str(port)], cwd=REPO, capture_output=True, text=True,
            env=environment,
        )
    assert done.returncode == 2
    assert f"error: Prefect's server cannot listen on port {port}" in done.stdout
    assert "`make serve PORT=4201`" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_each_port_in_use_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((ports.HOST, 0)) as first, socket.create_server((ports.HOST, 0)) as second:
        used = [listener.getsockname()[1] for listener in (first, second)]
        assert ports.main([f"MLflow={used[0]}", f"Prefect={used[1]}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["MLflow", "Prefect"]
    assert all("`ss -ltnp` shows it" in line for line in lines)
    assert ports.main([f"MLflow={used[0]}"]) == 0
