"""A model opened in ONNX Runtime: pixels -> logits, and its latency.

Idle threads sleep instead of spinning. A session is created from the bytes that were read, never from a path.
"""

from __future__ import annotations

import gc
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_agent.contract.wire import ModelCard
from edge_agent.errors import AgentError

Uint8Images = npt.NDArray[np.uint8]
"""[N, C, H, W]"""
Floats = npt.NDArray[np.float32]
_ERRORS_ONLY, _BLOCK = 3, 20


def open_session(content: bytes, threads: int) -> Any:
    """Creates a session on the CPU.

    Raises:
        AgentError: crashed or too_much_memory: the runtime refuses the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ERRORS_ONLY
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        raise failure("the runtime refuses the file", error) from error


def failure(what: str, error: Exception) -> AgentError:
    """Converts an error of the runtime: too_much_memory if it is about memory, otherwise crashed."""
    memory = isinstance(error, MemoryError) or "alloc" in str(error).lower()
    return AgentError("too_much_memory" if memory else "crashed", f"{what}: {str(error)[:300]}")


class Model:
    """An opened release.

    Raises:
        AgentError: See `open_session`.
        OSError: The file cannot be read.
    """

    def __init__(self, onnx: Path, card: ModelCard, threads: int) -> None:
        self.card = card
        self._session = open_session(onnx.read_bytes(), threads)
        self._input = self._session.get_inputs()[0].name
        shape = (1, card.channels, 1, 1)
        self._mean = np.asarray(card.mean, np.float32).reshape(shape)
        self._std = np.asarray(card.std, np.float32).reshape(shape)

    def images(self, raw: bytes) -> Uint8Images:
        """Converts raw bytes to uint8 [N, C, H, W].

        Raises:
            ValueError: The bytes are not a whole number of images, or empty.
        """
        shape = self.card.channels, self.card.height, self.card.width
        if not raw or len(raw) % (shape[0] * shape[1] * shape[2]):
            raise ValueError(f"{len(raw)} bytes are not a whole number of images {shape[0]} x {shape[1]} x {shape[2]}")
        return np.frombuffer(raw, np.uint8).reshape(-1, *shape)

    def normalised(self, pixels: Uint8Images) -> Floats:
        """Returns the input of the network: (pixels / 255 - mean) / std."""
        return (pixels.astype(np.float32) / np.float32(255) - self._mean) / self._std

    def run(self, floats: Floats) -> Floats:
        """Returns logits [N, classes] of normalised images [N, C, H, W].

        Raises:
            AgentError: The runtime fails.
        """
        try:
            logits: Floats = self._session.run(None, {self._input: floats})[0]
        except Exception as error:  # see open_session
            raise failure("the model fails when it runs", error) from error
        return logits

    def predict(self, pixels: Uint8Images) -> Floats:
        """Returns logits [N, classes] of uint8 [N, C, H, W].

        Raises:
            AgentError: The runtime fails.
        """
        return self.run(self.normalised(pixels))


def sample_latencies(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Times the models of a bench job in alternating blocks, one image at a time; runs in the child process.

    Returns:
        [{"sha256", "samples_ms"}], one entry per path of the job.

    Raises:
        AgentError: A model cannot be opened or run.
    """
    rows: list[tuple[str, Any, dict[str, Any], list[float]]] = []
    for path in job["paths"]:
        content = Path(path).read_bytes()
        session = open_session(content, job["threads"])
        image = session.get_inputs()[0]
        feed = {image.name: np.random.default_rng(20).standard_normal((1, *image.shape[1:]), dtype=np.float32)}
        rows.append((hashlib.sha256(content).hexdigest(), session, feed, []))
    gc.disable()
    for _, session, feed, _ in rows:
        _sample(session, feed, job["warmup"])
    while len(rows[-1][3]) < job["runs"]:
        for _, session, feed, samples_ms in rows:
            samples_ms += _sample(session, feed, min(_BLOCK, job["runs"] - len(samples_ms)))
    return [{"sha256": sha256, "samples_ms": samples_ms} for sha256, _, _, samples_ms in rows]


def _sample(session: Any, feed: dict[str, Any], runs: int) -> list[float]:
    samples_ms = []
    try:
        for _ in range(runs):
            start_ns = time.perf_counter_ns()
            session.run(None, feed)
            samples_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
    except Exception as error:  # see open_session
        raise failure("the model fails when it runs", error) from error
    return samples_ms
