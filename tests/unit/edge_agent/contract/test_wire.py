from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.wire import (
    SCHEMA,
    WHOLE,
    Report,
    Wave,
    WireError,
    bucket,
    canonical,
    cards_from,
    check_name,
    onnx_path,
    release_from,
    releases_to,
    report_from,
)
from tests.unit.fleet.toy_fleet import MODEL, TARGET, listed

REPORT = Report(
    schema=SCHEMA, device="cam-7", target=TARGET, model=MODEL, seq=1, time="2026-05-03T04:05:06Z", agent="0.1.0",
    runtime={"onnxruntime": "1.32.0"}, counter=3, sha256="a" * 64, event="installed", code="", detail="",
    about={"counter": 3}, probation={"p95_ms": 0.4}, quarantine=("c" * 64,), drift={},
)


def test_releases_and_reports_survive_the_wire() -> None:
    row = listed(3)
    assert release_from(json.loads(canonical(asdict(row.release)))) == row.release
    assert cards_from(releases_to(MODEL, TARGET, "2026-05-03T00:00:00Z", (row.card,)), TARGET, MODEL) == (row.card,)
    assert report_from(canonical(asdict(REPORT))) == REPORT


@pytest.mark.parametrize(("change", "word"), [
    ({"counter": "3"}, "counter is not int"),
    ({"counter": True}, "counter is not int"),
    ({"counter": 0}, "above 0"),
    ({"latency_ms": -1.0}, "above 0"),
    ({"latency_ms": None}, "latency_ms is not float"),
    ({"more": 1}, "unknown fields"),
    ({"model": "../x"}, "custom.model"),
    ({"ort": ["1.2"]}, "right length"),
    ({"hardware": "local-cpu"}, "hardware is not a list"),
    ({"wave": {"salt": "zz", "shares": [WHOLE], "index": 0}}, "salt"),
    ({"wave": {"salt": "5a" * 16, "shares": [5, 5, WHOLE], "index": 0}}, "wave.shares"),
    ({"wave": {"salt": "5a" * 16, "shares": [5], "index": 0}}, "wave.shares"),
    ({"wave": {"salt": "5a" * 16, "shares": [WHOLE], "index": 1}}, "wave.index 1"),
    ({"wave": {"salt": "5a" * 16, "shares": [WHOLE]}}, "wave.index is missing"),
])
def test_a_signed_release_that_makes_no_sense_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(WireError, match=word):
        release_from({**asdict(listed(3).release), **change})


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{", b"[" * 100_000, b"\xff\xfe", b'{"schema": 2}', b'{"schema": 1, "model": "x", "target": "y"}',
])
def test_what_is_no_list_of_releases_is_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        cards_from(content, TARGET, MODEL)


def test_a_list_may_not_point_at_another_models_files() -> None:
    card = listed(3).card
    other = releases_to(MODEL, TARGET, "", (replace(card, onnx=onnx_path(TARGET, "other", card.sha256)),))
    with pytest.raises(WireError, match="is not a file of"):
        cards_from(other, TARGET, MODEL)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "A", "a\0", "-a", "a" * 101, "c:", "naïve", "a\n"])
def test_names_that_are_no_safe_path_segment_are_refused(name: str) -> None:
    with pytest.raises(WireError):
        check_name("device", name)


@pytest.mark.parametrize("change", [
    {"event": "x"}, {"code": "x"}, {"schema": 2}, {"device": "../x"}, {"sha256": "x"}, {"quarantine": ["x"]},
    {"probation": {"p95_ms": "fast"}},
])
def test_reports_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        report_from(canonical({**asdict(REPORT), **change}))


def test_shares_are_met_and_waves_contain_each_other() -> None:
    devices = [f"device-{number}" for number in range(4000)]
    shares = (100, 500, 2500, 5000, WHOLE)
    before: set[str] = set()
    for index, share in enumerate(shares):
        inside = {device for device in devices if Wave("5a" * 16, shares, index).admits(device)}
        assert before <= inside
        assert abs(len(inside) / len(devices) - share / WHOLE) < 0.02
        before = inside
    assert len(before) == len(devices)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=8, max_size=32), st.text(max_size=20))
def test_a_bucket_is_always_within_the_fleet(salt: bytes, device: str) -> None:
    assert 0 <= bucket(salt.hex(), device) < WHOLE


def test_another_salt_is_another_order() -> None:
    devices = [f"device-{number}" for number in range(300)]
    orders = [sorted(devices, key=lambda each, salt=salt: bucket(salt, each)) for salt in ("aa" * 16, "bb" * 16)]
    assert orders[0] != orders[1]
