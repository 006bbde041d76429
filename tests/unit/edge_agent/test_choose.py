from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.choose import Adopt, DeviceState, Install, NothingToDo, Offer, Refuse, choose
from edge_agent.contract import wire
from tests.security.tuf_repository import MODEL, row, tiny_onnx

DEVICE = DeviceState("dev-1", MODEL, frozenset({"toy-board", "toy"}), "1.23.2", 1, "0" * 64, {})


def offer(counter: int, **changes: Any) -> Offer:
    listed = row(tiny_onnx(counter), counter, **changes)
    return Offer(listed.release, listed.card, len(listed.content))


def test_nothing_is_listed() -> None:
    assert choose([], DEVICE) == NothingToDo()


def test_a_new_one() -> None:
    new = offer(2)
    assert choose([new], DEVICE) == Install(new)


def test_the_one_in_use() -> None:
    live = offer(1)
    assert choose([live], replace(DEVICE, live=live.card.sha256)) == NothingToDo()


def test_the_same_file_under_a_new_counter() -> None:
    again = offer(2)
    assert choose([again], replace(DEVICE, live=again.card.sha256)) == Adopt(again)


def test_what_was_lost_is_installed_again() -> None:
    same = offer(1)
    assert choose([same], replace(DEVICE, live="")) == Install(same)


def test_the_wave_decides() -> None:
    new, old = offer(3), offer(2)
    salt = new.release.wave.salt
    share = wire.bucket(salt, "dev-1")
    for outside, wanted in ((share, old), (share + 1, new)):
        wave = wire.Wave(salt, (max(1, outside), wire.WHOLE), 0)
        listed = replace(new, release=replace(new.release, wave=wave))
        assert choose([old, listed], DEVICE) == Install(listed if wanted is new else old)


def test_nobody_else_is_asked_when_the_newest_is_refused() -> None:
    decision = choose([offer(3, hardware=("other",)), offer(2)], DEVICE)
    assert isinstance(decision, Refuse)
    assert decision.code == "wrong_hardware"
    assert "toy-board" in decision.message


@pytest.mark.parametrize(("runtime", "low", "high", "fits"), [
    ("1.20.0", "1.20", "2", True), ("1.20", "1.20.0", "2", True), ("1.32.0+cu12", "1.20", "2", True),
    ("1.9.0", "1.20", "2", False), ("2.0.0", "1.20", "2", False), ("2.0.0", "1.20", "2.0.1", True),
    ("", "0", "9", False), ("unknown", "0", "9", False),
])
def test_versions(runtime: str, low: str, high: str, fits: bool) -> None:
    decision = choose([offer(2, ort=(low, high))], replace(DEVICE, runtime=runtime))
    assert isinstance(decision, Install) is fits


def test_quarantine_and_how_it_is_lifted() -> None:
    bad = offer(2)
    device = replace(DEVICE, quarantine={bad.card.sha256: 2})
    assert getattr(choose([bad], device), "code", "") == "quarantined"
    for counter, lift, free in ((3, False, False), (2, True, False), (3, True, True)):
        card = replace(bad.card, counter=counter)
        release = replace(bad.release, counter=counter, lift_quarantine=lift)
        decision = choose([replace(bad, release=release, card=card)], device)
        assert isinstance(decision, Install) is free


def test_a_lower_counter() -> None:
    assert getattr(choose([offer(4)], replace(DEVICE, counter=5)), "code", "") == "lower_counter"


def test_custom_survives_the_canonical_json_of_tuf() -> None:
    release = offer(2, latency_ms=0.1 + 0.2, memory_mb=1e-05).release
    assert wire.release_from(wire.custom_of(release)) == release
    assert not any(isinstance(value, float) for value in wire.custom_of(release).values())
