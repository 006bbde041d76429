"""The sockets: what a chooser, a space, a source and a probe must do. Structural, so plug-ins import nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from nas_pipeline.core.genotype import Gene
from nas_pipeline.core.records import InputSpec, LatencyReport, TargetDevice

if TYPE_CHECKING:
    import torch  # names of types only: core itself runs without torch

G = TypeVar("G", bound=Gene)


class Chooser(Protocol):
    """Answers the decisions of a space. Every way to pick an architecture is one of these."""

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """One of `options`, for the decision `name`."""
        ...

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """A number in [low, high], for the decision `name`."""
        ...


@runtime_checkable
class SearchSpace(Protocol):
    """A set of architectures, written once, as decisions."""

    name: str
    version: int

    def decide(self, choose: Chooser) -> Any:
        """Ask `choose` for every decision that matters and return the plan (a plain value)."""
        ...

    def build(self, plan: Any, spec: InputSpec) -> torch.nn.Module:
        """The network of `plan`: [N, channels, height, width] -> logits [N, classes]."""
        ...


@runtime_checkable
class Probe(Protocol):
    """A way to know the latency of an ONNX file on a target."""

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Latency of one image.

        Raises:
            LatencyError: The file cannot be run.
        """
        ...
