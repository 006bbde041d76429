"""Statistics of served images for drift detection: predicted classes, confidence, brightness and contrast.

Only sums over many images are stored and reported, so no single image can be reconstructed.
"""

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

from edge_agent.contract.drift import BINS, MIN_IMAGES, binned
from edge_agent.disk import write_atomic

_SAVE_IMAGES, _SAVE_S = 256, 30.0
Sums = dict[str, Any]
"""{"images": count, "classes": counts per class, and counts per bin for each name in BINS}."""


def confidences(logits: npt.NDArray[Any]) -> Any:
    """Returns the largest softmax probabilities, float64 [N], of logits [N, classes]."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return odds.max(axis=1) / odds.sum(axis=1)


def sums(pixels: npt.NDArray[np.uint8], logits: npt.NDArray[Any]) -> Sums:
    """Returns the sums of images uint8 [N, C, H, W] and their logits [N, classes]."""
    flat = pixels.reshape(len(pixels), -1) / 255
    values = {"confidence": confidences(logits), "mean": flat.mean(axis=1), "std": flat.std(axis=1)}
    return {"images": len(pixels), "classes": np.bincount(logits.argmax(1), minlength=logits.shape[1]).tolist(),
            **{name: binned(name, values[name].tolist()) for name in BINS}}


def added(earlier: Sums, later: Sums) -> Sums:
    """Adds two sums. If the number of classes differs (a new model), returns `later` alone."""
    if not earlier or len(earlier["classes"]) != len(later["classes"]):
        return later
    return {"images": earlier["images"] + later["images"],
            **{name: [a + b for a, b in zip(earlier[name], later[name], strict=True)] for name in ("classes", *BINS)}}


class Sketch:
    """Sums in memory that are added to `drift.json` from time to time.

    The process that serves adds, and the process that reports takes; a lock file separates them.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._file, self._lock = state / "drift.json", threading.Lock()
        self._new: Sums = {}
        self._saved = time.monotonic()

    def add(self, pixels: npt.NDArray[np.uint8], logits: npt.NDArray[Any]) -> None:
        """Counts served images. A disk error loses sums and never fails the request."""
        with self._lock:
            self._new = added(self._new, sums(pixels, logits))
            due = self._new["images"] >= _SAVE_IMAGES or time.monotonic() - self._saved > _SAVE_S
        if due:
            self.save()

    def save(self) -> None:
        """Adds the sums in memory to the file."""
        with self._lock, contextlib.suppress(OSError), self._file_lock():
            self._saved = time.monotonic()
            if self._new:
                write_atomic(self._file, json.dumps(added(self._read(), self._new)).encode())
                self._new = {}

    def take(self) -> Sums:
        """Returns the sums since the last call and resets them. Below MIN_IMAGES it returns {} and resets nothing.

        Raises:
            OSError: The file cannot be changed; nothing is reset, or the sums would be reported twice.
        """
        with self._lock, self._file_lock():
            total = added(self._read(), self._new) if self._new else self._read()
            if total.get("images", 0) < MIN_IMAGES:
                return {}
            write_atomic(self._file, b"{}")
            self._new = {}
            return total

    def _read(self) -> Sums:
        try:
            value: Sums = json.loads(self._file.read_bytes())
            return value if set(value) == {"images", "classes", *BINS} else {}
        except (OSError, ValueError, TypeError):
            return {}

    @contextlib.contextmanager
    def _file_lock(self) -> Iterator[None]:
        with self._file.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
