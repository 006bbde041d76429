from __future__ import annotations

from pathlib import Path

from edge_agent.slots import Slots
from tests.security.tuf_repository import Row, row, tiny_onnx


def fill(slots: Slots, wanted: Row) -> None:
    part = slots.state / "part"
    part.write_bytes(wanted.content)
    slots.fill(part, wanted.release, wanted.card)


def test_nothing_yet(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    assert slots.current() is None
    assert slots.spare() is None
    assert not slots.revert()


def test_there_and_back(tmp_path: Path) -> None:
    slots, first, second = Slots(tmp_path), row(tiny_onnx(1), 1), row(tiny_onnx(2), 2)
    for wanted in (first, second):
        fill(slots, wanted)
        slots.flip()
        current = slots.current()
        assert current is not None
        assert (current.card.sha256, current.release, current.whole) == (wanted.sha256, wanted.release, True)
    assert slots.revert()
    assert slots.current().card == first.card  # type: ignore[union-attr]  # not None: revert() returned True


def test_nobody_goes_back_to_what_never_passed(tmp_path: Path) -> None:
    slots, first, untried = Slots(tmp_path), row(tiny_onnx(1), 1), row(tiny_onnx(2), 2)
    fill(slots, first)
    slots.flip()
    fill(slots, untried)
    assert not slots.revert()
    assert slots.current().card == first.card  # type: ignore[union-attr]  # as above


def test_nobody_goes_back_to_rot(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    for counter in (1, 2):
        fill(slots, row(tiny_onnx(counter), counter))
        slots.flip()
    (slots.spare_folder() / "model.onnx").write_bytes(b"rot")
    assert not slots.revert()


def test_half_a_slot_is_none(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    fill(slots, row(tiny_onnx(1), 1))
    slots.flip()
    (slots.link / "release.json").write_text("{")
    assert slots.current() is None
