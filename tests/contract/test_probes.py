"""What every probe of the catalogue must do."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import serve
from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.protocols import Probe
from nas_pipeline.core.records import LatencyReport, TargetDevice
from nas_pipeline.errors import ConfigError, LatencyError
from nas_pipeline.export.reference import write_reference
from nas_pipeline.latency import PROBES
from nas_pipeline.latency.host import fingerprint

EVIDENCE = {"local": "measured", "proxy": "proxy", "agent": "measured"}
OPTIONS = {"processes": 2, "runs": 30, "warmup": 3, "attempts": 1, "max_spread": 10.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "net.onnx"
    write_reference(path)
    return path


@pytest.fixture(params=list(PROBES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


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


@pytest.fixture
def probe(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Probe:
    own = {"url": request.getfixturevalue("device")} if name == "agent" else {}
    return PROBES.make(name, OPTIONS | own, work=tmp_path)


@pytest.fixture
def target(name: str) -> TargetDevice:
    return TargetDevice(
        name="board", probe=name, latency_ms=10.0, size_bytes=10**6, min_accuracy=0.5, threads=1, host_factor=100.0
    )


def test_every_probe_is_under_contract():
    assert set(PROBES) == set(EVIDENCE)


def test_report(name, probe, target, model):
    assert isinstance(probe, Probe)
    report = probe.measure(model, target)
    assert report.evidence == EVIDENCE[name]
    assert report.model_sha256 == sha256_file(model)
    assert 0 < report.p50_ms <= report.p90_ms <= report.p95_ms <= report.p99_ms
    assert report.runs == report.processes * OPTIONS["runs"]
    assert report.threads == target.threads
    assert report.stable == (report.spread <= OPTIONS["max_spread"])
    assert report.host["id"]
    assert LatencyReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
    # The model is the reference itself: its figure must be about the reference's, times 100 for the proxy.
    assert (report.p50_ms > report.reference_p50_ms * 10) == (name == "proxy")


def test_what_cannot_run_is_an_error(probe, target, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    for file in ("broken.onnx", "absent.onnx"):
        with pytest.raises(LatencyError, match=file):
            probe.measure(tmp_path / file, target)


def test_unknown_options_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'runs'"):
        PROBES.make(name, {"run": 3}, work=tmp_path)


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
