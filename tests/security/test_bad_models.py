"""Bad models that are signed and pass the static check: the trial in a child process detects them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_agent.agent import Agent
from edge_agent.contract.model_check import UnsafeModelError, check_content
from edge_agent.errors import AgentError
from edge_agent.probation import Limits, run_child, try_model
from edge_agent.slots import Slots
from tests.security.device import reports, set_up
from tests.security.model_files import CLASSES, array, card, content_of, golden, linear, release
from tests.security.tuf_repository import Row, TufRepository, row


def judged(tmp_path: Path, model: onnx.ModelProto, *, latency_ms: float = 5.0) -> dict[str, float]:
    content, path = content_of(model), tmp_path / "model.onnx"
    check_content(content, max_bytes=1 << 26, max_opset=20)
    path.write_bytes(content)
    return try_model(path, card(content), release(latency_ms=latency_ms), limits=Limits())


def large(elements: int, operator: str) -> onnx.ModelProto:
    """Returns a small file that computes a tensor of 4 x `elements` bytes."""
    fill = (helper.make_node("ConstantOfShape", ["size"], ["huge"]) if operator == "ConstantOfShape"
            else helper.make_node(operator, ["row", "size"], ["huge"]))
    # The size depends on the input: otherwise the runtime would fold the constant when it opens the file.
    more = [helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "zero"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["none"], to=TensorProto.INT64),
            helper.make_node("Add", ["sizes", "none"], ["size"]), fill,
            helper.make_node("ReduceMean", ["huge"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["zeros"]), helper.make_node("Add", ["scores", "zeros"], ["end"])]
    weights = [array("zero", np.float32(0)), array("sizes", np.array([elements], np.int64)),
               array("row", np.ones(1, np.float32))]
    return linear(more=more, last="end", weights=weights)


def heavy() -> onnx.ModelProto:
    """Returns a correct but slow model: twelve products of about a hundred megaflops."""
    more = [helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "tiny"], ["t"]), helper.make_node("Add", ["square", "t"], ["m"])]
    for index in range(12):
        more.append(helper.make_node("MatMul", ["m" if index == 0 else f"m{index - 1}", "m"], [f"m{index}"]))
    more += [helper.make_node("ReduceMean", ["m11"], ["mean"], keepdims=0),
             helper.make_node("Mul", ["mean", "zero"], ["z"]), helper.make_node("Add", ["scores", "z"], ["end"])]
    weights = [array("zero", np.float32(0)), array("tiny", np.float32(1e-9)),
               array("square", np.full((256, 256), 1e-3, np.float32))]
    return linear(more=more, last="end", weights=weights)


def test_a_good_one_passes_with_its_figures(tmp_path):
    figures = judged(tmp_path, linear())
    assert set(figures) == {"p95_ms", "memory_mb", "max_error", "agreement", "runs"}
    assert figures["agreement"] == 1.0
    assert figures["max_error"] <= golden().tolerance
    assert 0 < figures["p95_ms"] <= 6.0
    assert 0 <= figures["memory_mb"] <= 64
    assert figures["runs"] >= 100


@pytest.mark.parametrize(("more", "weights"), [
    ([helper.make_node("Log", ["scores"], ["end"])], []),
    ([helper.make_node("Mul", ["scores", "nan"], ["end"])], [array("nan", np.float32("nan"))]),
    ([helper.make_node("Mul", ["scores", "zero"], ["end"])], [array("zero", np.float32(0))]),
    ([helper.make_node("Add", ["scores", "much"], ["end"])], [array("much", np.float32([0, 0, 0, 0, 1000]))]),
    ([helper.make_node("Concat", ["scores", "scores"], ["end"], axis=1)], []),
], ids=["log", "nan", "constant", "one class", "twice as many"])
def test_wrong_answers(tmp_path, more, weights):
    model = linear(more=more, last="end", weights=weights)
    if more[0].op_type == "Log":
        with pytest.raises(UnsafeModelError, match="operator 'Log'"):
            judged(tmp_path, model)
        return
    with pytest.raises(AgentError) as caught:
        judged(tmp_path, model)
    assert caught.value.code in {"wrong_answers", "crashed"}  # crashed: the runtime detects the wrong shape


def test_ten_times_too_slow(tmp_path):
    with pytest.raises(AgentError, match="p95") as caught:
        judged(tmp_path, heavy(), latency_ms=0.2)
    assert caught.value.code == "too_slow"
    assert caught.value.figures["p95_ms"] > 0.24
    assert caught.value.figures["agreement"] == 1.0


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand"])
@pytest.mark.parametrize("elements", [40_000_000, 5_000_000_000], ids=["160 MB", "20 GB"])
def test_a_small_file_that_eats_memory(tmp_path, operator, elements):
    with pytest.raises(AgentError) as caught:
        judged(tmp_path, large(elements, operator), latency_ms=500)
    assert caught.value.code == "too_much_memory"


def test_one_that_never_answers_is_ended(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content_of(linear()))
    job = {"job": "bench", "paths": [str(path)] * 2, "threads": 1, "runs": 10**9, "warmup": 0, "wall_s": 2.0,
           "memory_mb": 64.0, "spare_mb": 512.0}
    with pytest.raises(AgentError, match="within 2 s") as caught:
        run_child(job)
    assert caught.value.code == "too_slow"


@pytest.mark.parametrize("broken", [
    linear(more=[helper.make_node("Add", ["scores", "nowhere"], ["end"])], last="end"),
    linear(more=[helper.make_node("Relu", ["end"], ["end"])], last="end"),
    linear(more=[helper.make_node("Conv", ["scores", "w"], ["end"])], last="end"),
    linear(more=[helper.make_node("Reshape", ["scores", "sizes"], ["end"])], last="end",
           weights=[array("sizes", np.array([7, CLASSES * 3], np.int64))]),
], ids=["no such input", "a circle", "wrong rank", "fails when it runs"])
def test_a_graph_that_makes_no_sense(tmp_path, broken):
    with pytest.raises(AgentError) as caught:
        judged(tmp_path, broken)
    assert caught.value.code == "crashed"


def test_a_child_that_dies_is_an_answer(tmp_path):
    """A missing file: the error of the child is reported."""
    with pytest.raises(AgentError, match="absent") as caught:
        try_model(tmp_path / "absent.onnx", card(b""), release(), limits=Limits())
    assert caught.value.code == "crashed"


def multiplied(factor: float) -> onnx.ModelProto:
    """Returns a model whose logits are multiplied by `factor`: 0 or NaN."""
    return linear(more=[helper.make_node("Mul", ["scores", "factor"], ["end"])], last="end",
                  weights=[array("factor", np.float32(factor))])


@pytest.mark.parametrize(("bad", "code", "bounds"), [
    (multiplied(np.nan), "wrong_answers", {}),
    (multiplied(0), "wrong_answers", {}),
    (heavy(), "too_slow", {"latency_ms": 0.2}),
    (large(40_000_000, "Expand"), "too_much_memory", {"memory_mb": 64.0}),
    (linear(more=[helper.make_node("Conv", ["scores", "w"], ["end"])], last="end"), "crashed", {}),
], ids=["no numbers", "constant", "slow", "hungry", "does not open"])
def test_a_device_keeps_its_good_model(tmp_path, bad, code, bounds):
    """A bad release is tried three times, quarantined and reported; the good model stays in use all the time."""
    repository = TufRepository(tmp_path / "tuf")
    state = set_up(tmp_path / "device", repository)
    good = offered(content_of(linear()), 1)
    repository.publish([good])
    assert Agent(state).once().event == "installed"
    repository.publish([offered(content_of(bad), 2, **bounds)])
    outcomes = []
    for _ in range(4):
        outcomes.append(Agent(state).once())
        slot = Slots(state).current()
        assert slot is not None
        assert (slot.card.sha256, slot.whole) == (good.sha256, True)
    assert [(each.event, each.code) for each in outcomes] == [
        ("failed", code), ("failed", code), ("quarantined", code), ("refused", "quarantined")]
    last = [each for each in reports(state) if each["event"] == "quarantined"]
    assert [(each["code"], each["about"]["counter"], each["sha256"]) for each in last] == [(code, 2, good.sha256)]


def offered(content: bytes, counter: int, **bounds: float) -> Row:
    """Returns a release of `content` with the golden logits of the good model."""
    listed = row(content, counter, golden=golden(), opset=20, **bounds)
    like = card(content)
    return replace(listed, card=replace(
        listed.card, channels=like.channels, height=like.height, width=like.width, class_names=like.class_names,
        mean=like.mean, std=like.std))
