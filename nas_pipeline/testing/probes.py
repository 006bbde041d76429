"""The contract of probes: a complete report about the right file, with the evidence that the probe declares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_pipeline.core.files import canonical_json, sha256_file
from nas_pipeline.core.protocols import Probe
from nas_pipeline.core.records import LatencyReport, TargetDevice
from nas_pipeline.errors import LatencyError
from nas_pipeline.export.reference import write_reference
from nas_pipeline.latency.probes import CheckedProbe


class ProbeContract:
    """Subclasses override the fixture `probe`, and `target` if the probe needs more of it."""

    host_factor = 100.0
    """Of the target; a `proxy` report has to be that much slower than this machine."""

    @pytest.fixture
    def probe(self) -> Probe:
        """The probe under test, with few runs and without a bound on the spread."""
        raise NotImplementedError("override the fixture `probe`")

    @pytest.fixture
    def target(self) -> TargetDevice:
        """The target of the measurement."""
        return TargetDevice(name="board", probe="under_test", latency_ms=10.0, size_bytes=10**6, min_accuracy=0.5,
                            threads=1, host_factor=self.host_factor)

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        """The reference model as an ONNX file."""
        path = tmp_path / "net.onnx"
        write_reference(path)
        return path

    def test_key_names_the_probe(self, probe: Probe) -> None:
        """The key is plain data with name and version."""
        assert isinstance(probe, Probe)
        key = probe.key()
        assert isinstance(key["name"], str)
        assert isinstance(key["version"], int)
        assert canonical_json(json.loads(canonical_json(key))) == canonical_json(key)

    def test_the_report_is_complete(self, probe: Probe, target: TargetDevice, model: Path) -> None:
        """Figures are ordered, the file is the given one, and the evidence is the declared one."""
        report = CheckedProbe(probe).measure(model, target)
        assert report.evidence == getattr(probe, "evidence", "predicted")
        assert report.model_sha256 == sha256_file(model)
        assert 0 < report.p50_ms <= report.p90_ms <= report.p95_ms <= report.p99_ms
        assert report.threads == target.threads
        assert report.host["id"]
        assert LatencyReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
        if report.evidence != "predicted":
            # The model is the reference itself, so its latency is about the reference's, times the factor of a proxy.
            slower = report.p50_ms > report.reference_p50_ms * self.host_factor / 10
            assert slower == (report.evidence == "proxy")

    def test_what_cannot_run_is_an_error(self, probe: Probe, target: TargetDevice, tmp_path: Path) -> None:
        """A damaged or missing file is a LatencyError that names it."""
        (tmp_path / "broken.onnx").write_bytes(b"not a network")
        for file in ("broken.onnx", "absent.onnx"):
            with pytest.raises(LatencyError, match=file):
                probe.measure(tmp_path / file, target)
