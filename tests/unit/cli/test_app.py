"""The command line: fast help, lists of plug-ins, errors as one message and an exit status."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_pipeline.cli import app as cli
from nas_pipeline.core.files import write_json
from nas_pipeline.data.sources import SOURCES
from nas_pipeline.errors import DataRefusal, TrainError
from nas_pipeline.latency.probes import PROBES
from nas_pipeline.search import EVALUATORS, STRATEGIES
from nas_pipeline.search.early_stopping import EARLY_STOPPING
from nas_pipeline.space import SPACES
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.ops import OPS
from nas_pipeline.space.published import PUBLISHED
from nas_pipeline.stages.context import Context
from nas_pipeline.stages.table import STAGES, Stage
from nas_pipeline.train.optimiser import OPTIMISERS
from tests.pipeline.small_project import write_project

CommandResult = tuple[int, str, str]
"""(exit status, standard output, standard error)"""

COMMANDS = (
    "run", "pipeline", "report", "publish", "promote", "rollback", "history", "reproduce", "show", "catalog", "space",
)


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., CommandResult]]:
    """Calls the command line as its script does, in this process."""
    logger = logging.getLogger("nas_pipeline")
    before = logger.handlers[:], logger.level, logger.propagate
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: object) -> CommandResult:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        return int(caught.value.code or 0), out, err

    yield call
    logger.handlers[:], logger.level, logger.propagate = before


def register_toy_stage(does: Callable[[Context], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers a stage `toy` that calls `does`."""
    module = ModuleType("nas_pipeline.stages.play_toy")
    module.__dict__["act"] = does
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(STAGES, "toy", Stage("toy", "play_toy:act", (), (), (), ()))


def test_help_names_every_command_within_a_second_of_cpu() -> None:
    command = [str(Path(sys.executable).with_name("nas")), "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        page = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert all(command in page for command in COMMANDS)
    assert used.ru_utime + used.ru_stime < 1.0


def test_the_help_imports_no_heavy_package() -> None:
    heavy = "{'torch', 'optuna', 'mlflow', 'prefect', 'numpy'}"
    code = f"import sys, nas_pipeline.cli.app; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_catalogue_lists_the_plug_ins_of_the_packages(nas: Callable[..., CommandResult]) -> None:
    code, out, _ = nas("catalog", "--json")
    assert code == 0
    assert json.loads(out) == {
        "source": list(SOURCES), "space": list(SPACES), "op": list(OPS), "baseline": list(BASELINES),
        "published": list(PUBLISHED),
        "strategy": list(STRATEGIES), "evaluator": list(EVALUATORS), "early_stopping": list(EARLY_STOPPING),
        "optimiser": list(OPTIMISERS), "probe": list(PROBES),
    }
    code, text, _ = nas("catalog")
    assert code == 0
    assert {line.split()[0] for line in text.splitlines()} == set(json.loads(out))
    assert ", ".join(SPACES) in text


@pytest.mark.parametrize("name", SPACES)
def test_a_space_shows_its_size_and_the_cost_of_its_members(nas: Callable[..., CommandResult], name: str) -> None:
    code, out, _ = nas("space", name, "--samples", 3, "--json")
    shown: dict[str, Any] = json.loads(out)
    assert code == 0
    assert (shown["name"], shown["version"], shown["samples"]) == (name, SPACES.make(name).version, 3)
    assert type(shown["size"]) is int
    assert shown["size"] > 1000
    assert shown["input"] == {"channels": 1, "height": 28, "width": 28, "classes": 10}
    for metric in ("macs", "params"):
        assert 0 < shown[metric]["min"] <= shown[metric]["median"] <= shown[metric]["max"]


def test_a_space_as_text(nas: Callable[..., CommandResult]) -> None:
    code, out, _ = nas("space", "residual", "--samples", 2, "--size", 16)
    assert code == 0
    assert "architectures; of 2 random ones (min / median / max):" in out
    assert nas("space", "residual", "--samples", 2, "--size", 16)[1] == out, "the seed decides"


def test_the_search_network_of_the_paper_has_its_size(nas: Callable[..., CommandResult]) -> None:
    words = ("space", "cell", "--supernet", "--width", 16, "--cells", 8, "--channels", 3, "--classes", 10)
    code, out, _ = nas(*words, "--json")
    assert code == 0
    assert json.loads(out)["weights"] == 1930618
    assert json.loads(out)["alphas"] == {"normal": [14, 8], "reduce": [14, 8]}
    assert "1,930,618 weights" in nas(*words)[1]


@pytest.mark.parametrize("name", BASELINES)
def test_a_hand_designed_network_is_shown(nas: Callable[..., CommandResult], name: str) -> None:
    code, out, _ = nas("show", name, "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["id"] == BASELINES[name].id
    assert shown["genes"] == [list(gene) for gene in BASELINES[name].genes]
    assert sum(row["params"] for row in shown["layers"]) == shown["params"]
    code, text, _ = nas("show", name)
    assert code == 0
    assert f"{BASELINES[name].id}: {shown['params']:,} parameters, {shown['macs']:,} MACs" in text


def test_a_published_network_is_shown_at_any_size(nas: Callable[..., CommandResult]) -> None:
    words = ("show", "darts_v2", "--channels", 3, "--classes", 10, "--json")
    code, out, _ = nas(*words, "--width", 36, "--cells", 20)
    assert code == 0
    assert json.loads(out)["params"] == 3_349_342
    shown = json.loads(nas(*words, "--width", 4, "--cells", 5)[1])
    assert shown["genes"][:2] == [["width", 4], ["cells", 5]]


def test_the_winner_of_a_search_is_shown_from_its_file(nas: Callable[..., CommandResult], tmp_path: Path) -> None:
    genotype = BASELINES["dense_residual"]
    winner = {"genotype": genotype.to_json(), "genotype_id": genotype.id, "number": 3, "metrics": {}, "why": "best"}
    write_json(tmp_path / "winner.json", winner)
    write_json(tmp_path / "genotype.json", genotype.to_json())
    by_name = nas("show", "dense_residual", "--classes", 4, "--json")
    assert nas("show", tmp_path / "winner.json", "--classes", 4, "--json") == by_name
    assert nas("show", tmp_path / "genotype.json", "--classes", 4, "--json") == by_name
    code, text, _ = nas("show", tmp_path / "winner.json")
    assert code == 0
    assert f"residual {genotype.id}:" in text


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("show", "moon"), 2, "moon is neither a file nor a hand-designed or published network; those are: dep"),
        (("show", "dense_residual", "--width", "8"), 1, "of space 'residual' has no gene width; leave that size out"),
        (("show", "darts_v1", "--cells", "2"), 1, "gene 'cells' holds 2, which space 'cell' does not take"),
        (("space", "residul"), 2, "unknown space 'residul' (did you mean 'residual'?)"),
        (("space", "residual", "--supernet"), 2, "space residual has no search network"),
        (("run", "serach"), 2, "unknown stage 'serach'; there are: ingest"),
        (("run", "ingest", "--root", "{empty}"), 2, "params.yaml does not exist"),
        (("run", "search", "--root", "{project}"), 3, "stage search reads artifacts/ingest/dataset.json"),
        (("report", "--root", "{project}"), 3, "there is no finished run in"),
        (("report", "--profile", "moon", "--root", "{project}"), 2, "unknown profile 'moon'"),
        (("show", "{project}/params.yaml"), 1, "no genotype can be read from"),
    ],
)
def test_an_error_is_one_message_and_a_status(
    nas: Callable[..., CommandResult], tmp_path: Path, words: tuple[str, ...], status: int, message: str
) -> None:
    project, empty = write_project(tmp_path / "project"), tmp_path / "empty"
    empty.mkdir()
    code, _, err = nas(*(word.format(project=project, empty=empty) for word in words))
    assert code == status
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_a_refusal_is_labelled_as_one(
    nas: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_context: Context) -> None:
        raise DataRefusal("row 7 is black")

    register_toy_stage(refuse, monkeypatch)
    code, out, err = nas("run", "toy", "--root", write_project(tmp_path))
    assert (code, err) == (4, "refused: row 7 is black\n")
    assert "toy starts" in out


def test_other_failures_and_an_interruption(
    nas: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException] = [TrainError("diverged"), KeyboardInterrupt()]

    def fail(_context: Context) -> None:
        raise raised.pop(0)

    register_toy_stage(fail, monkeypatch)
    root = write_project(tmp_path)
    assert nas("run", "toy", "--root", root)[::2] == (1, "error: diverged\n")
    code, _, err = nas("run", "toy", "--root", root)
    assert (code, err) == (130, "interrupted; run the same command again to continue\n")


@pytest.mark.parametrize(
    "words", [("show",), ("fly",), ("space", "residual", "--samples", "0"), ("run", "--roof", ".")]
)
def test_a_wrong_command_line_is_status_two(nas: Callable[..., CommandResult], words: tuple[str, ...]) -> None:
    code, _, err = nas(*words)
    assert code == 2
    assert err.startswith("Usage: ")
    assert "Traceback" not in err


def test_telemetry_is_off_for_every_command(nas: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DVC_NO_ANALYTICS", "DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "mine")
    nas("catalog")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"
    assert (os.environ["DVC_NO_ANALYTICS"], os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("1", "false")


def test_a_stage_exits_when_the_reader_of_its_output_exits() -> None:
    """This happens if the pipeline that started the stage through DVC is killed."""
    code = (
        "import time\nfrom nas_pipeline.cli.app import _end_with_reader\n"
        "_end_with_reader()\nprint('ok', flush=True)\ntime.sleep(600)"
    )
    read, write = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=write)
    os.close(write)
    assert os.read(read, 2) == b"ok"
    assert child.poll() is None, "it runs as long as its output is read"
    os.close(read)
    assert child.wait(120) == -signal.SIGTERM


def test_a_full_disk_is_one_message_and_nothing_is_half_written(
    tmp_path: Path, nas: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    root = write_project(tmp_path)
    disk = root / "artifacts"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        register_toy_stage(lambda context: write_json(context.folder / "big.json", ["x" * 100] * 2000), monkeypatch)
        code, _, err = nas("run", "toy", "--root", root)
        assert code == 1
        assert err.startswith(f"error: {disk}/toy/big.json cannot be written: the disk or the quota is full")
        assert "continues where it stopped" in err
        assert [path.name for path in (disk / "toy").iterdir()] == ["error.json"]
        assert json.loads((disk / "toy/error.json").read_text())["type"] == "StorageError"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_without_permission_is_named(
    tmp_path: Path, nas: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_project(tmp_path)

    def forbidden(context: Context) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/srv/images/a.png")

    register_toy_stage(forbidden, monkeypatch)
    code, _, err = nas("run", "toy", "--root", root)
    assert code == 1
    assert err.startswith("error: /srv/images/a.png cannot be used: permission denied. Give its owner the right")
