"""Timing in this process, and the percentiles and spreads of the samples."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nas_pipeline.core.files import sha256_file
from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.timing import Request, bench, normalised_spread, percentiles_ms, relative_spread


def test_every_model_gets_its_runs_and_the_hash_of_what_ran(model):
    first, second = bench(Request((str(model), str(model)), threads=1, warmup=2, runs=45))
    assert (len(first.samples_ms), len(second.samples_ms)) == (45, 45)
    assert first.sha256 == second.sha256 == sha256_file(model)
    assert all(0 < value < 1000 for value in first.samples_ms)


@pytest.mark.parametrize(
    "changes",
    [{"models": ()}, {"runs": 0}, {"warmup": -1}, {"threads": 0}],
    ids=["no model", "no run", "negative warm-up", "no thread"],
)
def test_nothing_to_measure_is_refused(model, changes):
    request = {"models": (str(model),), "threads": 1, "warmup": 1, "runs": 1, **changes}
    with pytest.raises(LatencyError, match="nothing to measure"):
        bench(Request(**request))


def test_what_cannot_run_is_refused(broken, tmp_path):
    for path in (broken, tmp_path / "absent.onnx"):
        with pytest.raises(LatencyError, match=path.name):
            bench(Request((str(path),), 1, 0, 1))


@pytest.mark.parametrize(("shape", "message"), [(["batch", 10], "does not accept one float image"),
                                             (["batch", 1, "h", "w"], "has images of dynamic size")])
def test_only_images_of_a_fixed_size_are_timed(tmp_path: Path, shape, message):
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", "logits")]
    body = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["input"], ["logits"])], "g", ends[:1], ends[1:])
    path = tmp_path / "net.onnx"
    opset = [onnx.helper.make_opsetid("", 18)]
    path.write_bytes(onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString())
    with pytest.raises(LatencyError, match=message):
        bench(Request((str(path),), 1, 0, 1))


def test_percentiles_are_observed_values_rounded_up():
    assert percentiles_ms([float(value) for value in range(1, 101)]) == (51.0, 91.0, 96.0, 100.0)
    assert percentiles_ms([2.0]) == (2.0, 2.0, 2.0, 2.0)
    assert percentiles_ms([3.0, 1.0]) == (3.0, 3.0, 3.0, 3.0)


def test_relative_spread():
    assert relative_spread([1.0, 1.1, 1.3]) == pytest.approx(0.3 / 1.1)
    assert relative_spread([5.0]) == 0.0


def test_a_host_that_slows_both_models_does_not_count_as_spread():
    model, reference = [1.0, 2.0, 1.5], [0.5, 1.0, 0.75]
    assert relative_spread(model) == pytest.approx(2 / 3)
    assert normalised_spread(model, reference) == pytest.approx(0.0)


def test_a_model_that_slows_alone_does():
    assert normalised_spread([1.0, 2.0, 1.0], [1.0, 1.0, 1.0]) == pytest.approx(1.0)
