"""A model that is open: pixels in, logits out. Threads wait asleep; what runs is what was read, never a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_agent.contract.wire import ModelCard
from edge_agent.errors import AgentError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_ERRORS_ONLY = 3


def open_session(content: bytes, threads: int) -> Any:
    """A session on the CPU.

    Raises:
        AgentError: crashed or too_much_memory: the runtime does not take the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ERRORS_ONLY
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen unrelated error types
        raise failure("the runtime refuses the file", error) from error


def failure(what: str, error: Exception) -> AgentError:
    """What an error of the runtime means for a device."""
    memory = isinstance(error, MemoryError) or "alloc" in str(error).lower()
    return AgentError("too_much_memory" if memory else "crashed", f"{what}: {str(error)[:300]}")


class Model:
    """One release, ready to answer."""

    def __init__(self, onnx: Path, card: ModelCard, threads: int) -> None:
        """Open the file.

        Raises:
            AgentError: See `open_session`.
            OSError: It cannot be read.
        """
        self.card = card
        self._session = open_session(onnx.read_bytes(), threads)
        self._input = self._session.get_inputs()[0].name
        shape = (1, card.channels, 1, 1)
        self._mean = np.asarray(card.mean, np.float32).reshape(shape)
        self._std = np.asarray(card.std, np.float32).reshape(shape)

    def images(self, raw: bytes) -> Pixels:
        """uint8 [N, C, H, W] of `raw`.

        Raises:
            ValueError: It is no whole number of images, or none.
        """
        shape = self.card.channels, self.card.height, self.card.width
        if not raw or len(raw) % (shape[0] * shape[1] * shape[2]):
            raise ValueError(f"{len(raw)} bytes are no images of {shape[0]} x {shape[1]} x {shape[2]}")
        return np.frombuffer(raw, np.uint8).reshape(-1, *shape)

    def normalised(self, pixels: Pixels) -> Floats:
        """What the network takes."""
        floats: Floats = (pixels.astype(np.float32) / np.float32(255) - self._mean) / self._std
        return floats

    def run(self, floats: Floats) -> Floats:
        """Logits [N, classes].

        Raises:
            AgentError: The runtime fails.
        """
        try:
            logits: Floats = self._session.run(None, {self._input: floats})[0]
        except Exception as error:  # see open_session
            raise failure("the model fails when it runs", error) from error
        return logits

    def predict(self, pixels: Pixels) -> Floats:
        """Logits [N, classes] of uint8 [N, C, H, W].

        Raises:
            AgentError: The runtime fails.
        """
        return self.run(self.normalised(pixels))
