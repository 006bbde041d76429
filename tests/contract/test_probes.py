"""Every probe of the catalogue is under the contract of probes. A new row of PROBES needs no line here."""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import serve
from nas_pipeline.core.protocols import Probe
from nas_pipeline.core.records import LatencyReport, TargetDevice
from nas_pipeline.errors import ConfigError, LatencyError
from nas_pipeline.export.reference import write_reference
from nas_pipeline.latency.host import fingerprint
from nas_pipeline.latency.probes import PROBES, CheckedProbe
from nas_pipeline.testing.probes import ProbeContract

OPTIONS = {"processes": 2, "runs": 30, "warmup": 3, "attempts": 1, "max_spread": 10.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "net.onnx"
    write_reference(path)
    return path


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real agent on loopback, without a model of its own."""
    server = serve.create_server(tmp_path_factory.mktemp("agent"), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class TestProbesOfTheCatalogue(ProbeContract):
    @pytest.fixture(params=list(PROBES))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def probe(self, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Probe:
        takes_url = "url" in inspect.signature(PROBES[name]).parameters  # it measures through an agent
        own = {"url": request.getfixturevalue("device")} if takes_url else {}
        return PROBES.make(name, OPTIONS | own, work=tmp_path)

    def test_the_runs_are_those_of_the_options(
        self, name: str, probe: Probe, target: TargetDevice, model: Path
    ) -> None:
        report = probe.measure(model, target)
        assert report.runs == report.processes * OPTIONS["runs"]
        assert report.stable == (report.spread <= OPTIONS["max_spread"])
        assert probe.key()["name"] == name

    def test_unknown_options_are_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="did you mean 'runs'"):
            PROBES.make(name, {"run": 3}, work=tmp_path)


def test_the_evidence_of_the_own_probes() -> None:
    declared = {name: getattr(PROBES[name], "evidence", "predicted") for name in ("local", "proxy", "agent")}
    assert declared == {"local": "measured", "proxy": "proxy", "agent": "measured"}


class Boaster:
    """A probe that returns the report of `local` with whatever is changed in it."""

    version = 1

    def __init__(self, work: Path, **changes: object) -> None:
        self._local = PROBES.make("local", OPTIONS, work=work)
        self._changes = changes

    def key(self) -> dict[str, object]:
        return {"name": "boaster", "version": self.version, "options": {}}

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        return dataclasses.replace(self._local.measure(model, target), **self._changes)


class DeclaredProxy(Boaster):
    evidence = "proxy"


class DeclaredMeasured(Boaster):
    evidence = "measured"


@pytest.mark.parametrize(("probe", "changes", "message"), [
    (DeclaredProxy, {}, "declares proxy evidence and returned measured"),
    (Boaster, {}, "declares predicted evidence and returned measured"),
    (DeclaredMeasured, {"evidence": "proxy"}, "declares measured evidence and returned proxy"),
    (DeclaredMeasured, {"model_sha256": "f" * 64}, r"reported on another file \(sha256 ffffffffffff\)"),
    (DeclaredMeasured, {"quantiles_ms": ()}, "without timings"),
    (DeclaredMeasured, {"host": {}}, "without the id of the device"),
])
def test_a_report_that_is_not_what_the_probe_declares_is_an_error(probe, changes, message, model, tmp_path):
    target = TargetDevice("board", "boaster", latency_ms=1.0, size_bytes=1, min_accuracy=0.5)
    with pytest.raises(LatencyError, match=message):
        CheckedProbe(probe(tmp_path, **changes)).measure(model, target)


def test_the_report_of_an_honest_probe_passes_unchanged(model, tmp_path):
    target = TargetDevice("board", "boaster", latency_ms=1.0, size_bytes=1, min_accuracy=0.5)
    assert CheckedProbe(DeclaredMeasured(tmp_path)).measure(model, target).evidence == "measured"


def test_a_proxy_needs_a_factor(model, tmp_path):
    target = TargetDevice("board", "proxy", latency_ms=1.0, size_bytes=1, min_accuracy=0.5)
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(LatencyError, match="host_factor"):
            PROBES.make("proxy", OPTIONS, work=tmp_path).measure(model, dataclasses.replace(target, host_factor=factor))


def test_an_agent_that_does_not_answer_or_is_none(tmp_path, model):
    target = TargetDevice("board", "agent", latency_ms=1.0, size_bytes=1, min_accuracy=0.5)
    for url in ("ftp://127.0.0.1", "127.0.0.1:8765", ""):
        with pytest.raises(ConfigError, match="nas-agent serve"):
            PROBES.make("agent", OPTIONS, url=url, work=tmp_path)
    probe = PROBES.make("agent", {**OPTIONS, "url": "http://127.0.0.1:9"}, work=tmp_path)
    with pytest.raises(LatencyError, match="is `nas-agent serve` running"):
        probe.measure(model, target)


def test_an_agent_tells_of_the_device_and_not_of_us(device, tmp_path, model):
    target = TargetDevice("board", "agent", latency_ms=1.0, size_bytes=1, min_accuracy=0.5)
    report = PROBES.make("agent", {**OPTIONS, "url": device}, work=tmp_path).measure(model, target)
    here = fingerprint()  # in this test, the device is this machine
    assert report.host["id"] == here["id"]
