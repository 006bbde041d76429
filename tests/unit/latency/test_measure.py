"""Measurement in fresh processes, and the check of stability."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import threading

import pytest

from nas_pipeline.core.files import sha256_file
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.measure import measure, quick_latency_ms, reference_model, run_fresh
from nas_pipeline.latency.timing import Request


def test_a_report_tells_what_was_done(model, tmp_path):
    report = measure(model, 1, work=tmp_path, processes=3, runs=25, warmup=2, max_spread=math.inf)
    assert (report.runs, report.processes, report.threads) == (75, 3, 1)
    assert report.evidence == "measured"
    assert report.stable
    assert report.model_sha256 == sha256_file(model)
    assert 0 < report.p50_ms <= report.p90_ms <= report.p95_ms <= report.p99_ms
    assert report.reference_p50_ms > 0
    assert report.host["attempts"] == 1
    assert report.host["raw_spread"] >= 0
    json.dumps({**report.to_json(), "host": {**report.host, "max_spread": None}}, allow_nan=False)


def test_an_unstable_measurement_is_repeated_and_says_so(model, tmp_path):
    report = measure(model, 1, work=tmp_path, processes=2, runs=5, warmup=0, max_spread=-1.0, attempts=2)
    assert not report.stable
    assert report.host["attempts"] == 2
    assert report.runs == 10  # one attempt whole, never a mixture


def test_a_file_that_changes_meanwhile_is_noticed(model, tmp_path):
    victim, done = tmp_path / "net.onnx", threading.Event()
    victim.write_bytes(model.read_bytes())

    def rewrite() -> None:
        for number in itertools.count():
            documentation = b"\x32\x08" + f"{number:08d}".encode()  # another file, the same network
            (tmp_path / "next").write_bytes(model.read_bytes() + documentation)
            (tmp_path / "next").replace(victim)
            if done.wait(0.01):
                return

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        with pytest.raises(LatencyError, match="changed during the measurement"):
            measure(victim, 1, work=tmp_path, processes=2, runs=5, warmup=0)
    finally:
        done.set()
        writer.join()


def test_what_cannot_be_measured_is_refused(model, broken, tmp_path):
    with pytest.raises(LatencyError, match=r"broken\.onnx cannot be measured"):
        measure(broken, 1, work=tmp_path, processes=2, runs=5, warmup=0)
    with pytest.raises(LatencyError, match="does not exist"):
        measure(tmp_path / "absent.onnx", 1, work=tmp_path)
    with pytest.raises(LatencyError, match="at least 2 processes"):
        measure(model, 1, work=tmp_path, processes=1)


def test_the_quick_figure_is_near_the_median(model):
    quick = quick_latency_ms(model, 1, runs=50, warmup=5)
    assert 0 < quick < 50
    assert quick_latency_ms(model, 1, runs=1, warmup=0) > 0


def test_the_bench_answers_in_json_and_imports_no_torch(model):
    request = json.dumps({"models": [str(model)], "threads": 1, "warmup": 0, "runs": 2})
    command = [sys.executable, "-W", "error", "-m", "nas_pipeline.latency.bench"]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["models"][0]["samples_ms"]) == 2
    assert done.stderr == ""
    listing = "import sys, nas_pipeline.latency.bench; sys.stdout.write(' '.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "mlflow", "pandas"} & set(modules)


def test_a_bad_request_is_an_error_with_its_reason(tmp_path):
    with pytest.raises(LatencyError, match=r"absent\.onnx cannot be read"):
        run_fresh(Request((str(tmp_path / "absent.onnx"),), 1, 0, 1))


def test_the_reference_is_written_once(tmp_path):
    path = reference_model(tmp_path / "work")
    before = path.stat().st_mtime_ns
    assert reference_model(tmp_path / "work") == path
    assert path.stat().st_mtime_ns == before
