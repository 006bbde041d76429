from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np

from edge_agent.contract.drift import BINS, MIN_IMAGES
from edge_agent.drift import Sketch, added, sums


def served(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed)
    return noise.integers(0, 256, (images, 1, 4, 4), dtype=np.uint8), noise.standard_normal((images, 5))


def test_sums_count_every_image_once_in_each():
    pixels, logits = served(70)
    counted = sums(pixels, logits)
    assert counted["images"] == 70
    assert {name: len(counted[name]) for name in BINS} == {"confidence": 10, "mean": 16, "std": 16}
    assert all(sum(counted[name]) == 70 for name in ("classes", *BINS))
    assert counted["classes"] == np.bincount(logits.argmax(1), minlength=5).tolist()
    json.dumps(counted)


def test_bins_at_their_ends():
    black, white = np.zeros((1, 1, 2, 2), np.uint8), np.full((1, 1, 2, 2), 255, np.uint8)
    half = np.array([0, 255, 0, 255], np.uint8).reshape(1, 1, 2, 2)
    sure = np.array([[1000.0, 0.0]])
    assert [sums(values, sure)["mean"].index(1) for values in (black, half, white)] == [0, 8, 15]
    assert [sums(values, sure)["std"].index(1) for values in (black, half)] == [0, 15]
    assert sums(black, sure)["confidence"][9] == 1
    assert sum(sums(black, np.array([[np.nan, 1.0]]))["confidence"]) == 1


def test_nothing_leaves_below_fifty_images_and_it_goes_on_adding_up(tmp_path: Path):
    sketch = Sketch(tmp_path)
    sketch.add(*served(MIN_IMAGES - 1))
    sketch.save()
    assert Sketch(tmp_path).take() == {}
    sketch.add(*served(1))
    sketch.save()
    assert Sketch(tmp_path).take()["images"] == MIN_IMAGES
    assert Sketch(tmp_path).take() == {}


def test_two_processes_lose_nothing(tmp_path: Path):
    """Four threads add and another one takes: every image is reported exactly once."""
    serving, reporting, totals = Sketch(tmp_path), Sketch(tmp_path), []

    def serve(seed: int) -> None:
        for _ in range(25):
            serving.add(*served(20, seed))
            serving.save()

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        totals.append(reporting.take())
    totals.append(reporting.take())
    rest = json.loads((tmp_path / "drift.json").read_text()).get("images", 0)
    assert sum(values.get("images", 0) for values in totals) + rest == 4 * 25 * 20


def test_sums_of_another_model_or_a_broken_file_are_dropped(tmp_path: Path):
    old = sums(np.zeros((60, 1, 2, 2), np.uint8), np.zeros((60, 3)))
    assert added(old, sums(*served(10)))["images"] == 10
    (tmp_path / "drift.json").write_text('{"images": 60')
    sketch = Sketch(tmp_path)
    sketch.add(*served(60))
    assert sketch.take()["images"] == 60
    (tmp_path / "drift.json").write_text('["x"]')
    assert Sketch(tmp_path).take() == {}


def test_a_disk_that_takes_nothing_costs_no_answer(tmp_path: Path):
    sketch = Sketch(tmp_path / "absent")
    sketch.add(*served(300))
    sketch.save()
    assert sketch._new["images"] == 300
