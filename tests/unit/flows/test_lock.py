"""The lock that serialises scheduled pipelines."""

from __future__ import annotations

import threading
from pathlib import Path

from flows.lock import pipeline_turn


def test_the_second_waits_for_its_turn(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with pipeline_turn(tmp_path):
            order.append("second")

    with pipeline_turn(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
