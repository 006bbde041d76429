"""What a device saw, as sums from which no image can be told: predicted classes, confidence, brightness, contrast."""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.contract.drift import BINS, LEAST, binned
from edge_agent.state import write_atomic

_SAVE_IMAGES, _SAVE_S = 256, 30.0
Sums = dict[str, Any]


def sums(pixels: npt.NDArray[np.uint8], logits: npt.NDArray[Any]) -> Sums:
    """Of images uint8 [N, C, H, W] and their logits [N, classes]."""
    values = logits.astype(np.float64)
    odds = np.exp(values - values.max(axis=1, keepdims=True))
    flat = pixels.reshape(len(pixels), -1) / 255
    found = {"confidence": odds.max(axis=1) / odds.sum(axis=1), "mean": flat.mean(axis=1), "std": flat.std(axis=1)}
    return {"images": len(pixels), "classes": np.bincount(values.argmax(1), minlength=values.shape[1]).tolist(),
            **{name: binned(name, found[name].tolist()) for name in BINS}}


def added(one: Sums, other: Sums) -> Sums:
    """Both together; of models with other classes, the newer `other` alone."""
    if not one or len(one["classes"]) != len(other["classes"]):
        return other
    return {"images": one["images"] + other["images"],
            **{name: [a + b for a, b in zip(one[name], other[name], strict=True)] for name in ("classes", *BINS)}}


class Sketch:
    """Sums in memory that go to `drift.json` now and then. Who serves adds, who reports takes: two processes."""

    def __init__(self, state: Path) -> None:
        self._file, self._lock = state / "drift.json", threading.Lock()
        self._new: Sums = {}
        self._saved = time.monotonic()

    def add(self, pixels: npt.NDArray[np.uint8], logits: npt.NDArray[Any]) -> None:
        """Count what was served. A disk that takes nothing costs sums, never an answer."""
        with self._lock:
            self._new = added(self._new, sums(pixels, logits))
            due = self._new["images"] >= _SAVE_IMAGES or time.monotonic() - self._saved > _SAVE_S
        if due:
            self.save()

    def save(self) -> None:
        """Add what is in memory to the file."""
        with self._lock, contextlib.suppress(OSError), self._alone():
            self._saved = time.monotonic()
            if self._new:
                write_atomic(self._file, json.dumps(added(self._read(), self._new)).encode())
                self._new = {}

    def take(self) -> Sums:
        """The sums since the last time, which start anew; empty below LEAST images, which then go on adding up.

        Raises:
            OSError: The file cannot be changed: nothing is taken, or it would be told twice.
        """
        with self._lock, self._alone():
            found = added(self._read(), self._new) if self._new else self._read()
            if found.get("images", 0) < LEAST:
                return {}
            write_atomic(self._file, b"{}")
            self._new = {}
            return found

    def _read(self) -> Sums:
        try:
            found: Sums = json.loads(self._file.read_bytes())
            whole = found if set(found) == {"images", "classes", *BINS} else {}
        except (OSError, ValueError, TypeError):
            return {}
        return whole

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._file.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
