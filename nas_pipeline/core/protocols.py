"""Protocols of the plug-ins that need no common base class: choosers, search spaces and latency probes.

A class implements a protocol by its methods alone, so a plug-in imports nothing from this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from nas_pipeline.core.genotype import Gene
from nas_pipeline.core.records import InputSpec, LatencyReport, TargetDevice

if TYPE_CHECKING:
    import torch  # for annotations only: this package runs without torch

G = TypeVar("G", bound=Gene)


class Chooser(Protocol):
    """Makes the decisions of a search space.

    A search space does not enumerate its members. It calls a chooser once per decision, with a name and the options,
    and builds its plan from the results. The chooser defines where a decision comes from: a random generator, a
    recorded genotype, a mutation of a parent, an Optuna trial, or the largest architecture weight of a gradient search.
    All of them work with every space, because they see only names and options. A decision that the previous decisions
    make irrelevant is not requested, so that equal architectures have equal genotypes.

    Example:
        >>> class FirstOption:
        ...     def one_of(self, name, options):
        ...         return options[0]
        ...     def real(self, name, low, high, log=False):
        ...         return low
        >>> choose = FirstOption()
        >>> choose.one_of("width", (8, 16, 32)), choose.real("dropout", 0.1, 0.5)
        (8, 0.1)
    """

    def one_of(self, name: str, options: Sequence[G]) -> G:
        """Returns one of `options` for the decision `name`."""
        ...

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        """Returns a number in [low, high] for the decision `name`; `log`: the scale is logarithmic."""
        ...


@runtime_checkable
class SearchSpace(Protocol):
    """A set of architectures, defined once by its decisions.

    `decide` makes the decisions with a chooser and returns a plan, which is plain data. `build` constructs the network
    of a plan. The same definition therefore serves sampling, replay, mutation, crossover, enumeration, Optuna and
    supernets: only the chooser differs. The recorded decisions are the genotype. `version` is increased when the same
    decisions give another network; a genotype of another version is rejected. `key` identifies the space with its
    options: studies and caches with different keys are never mixed.

    Example:
        >>> import torch
        >>> class TwoLayers:
        ...     name, version = "two_layers", 1
        ...     def __init__(self, widths=(8, 16)):
        ...         self.widths = widths
        ...     def key(self):
        ...         return {"name": self.name, "version": self.version, "widths": list(self.widths)}
        ...     def decide(self, choose):
        ...         return {"width": choose.one_of("width", self.widths)}
        ...     def build(self, plan, spec):
        ...         pixels = spec.channels * spec.height * spec.width
        ...         return torch.nn.Sequential(
        ...             torch.nn.Flatten(), torch.nn.Linear(pixels, plan["width"]), torch.nn.ReLU(),
        ...             torch.nn.Linear(plan["width"], spec.classes))
        >>> class LastOption:
        ...     def one_of(self, name, options):
        ...         return options[-1]
        >>> space = TwoLayers()
        >>> isinstance(space, SearchSpace)
        True
        >>> plan = space.decide(LastOption())
        >>> plan
        {'width': 16}
        >>> network = space.build(plan, InputSpec(channels=1, height=8, width=8, classes=3))
        >>> tuple(network(torch.zeros(2, 1, 8, 8)).shape)
        (2, 3)
    """

    name: str
    version: int

    def key(self) -> dict[str, object]:
        """Returns the name, version and options as plain data: the identity of the space in a study's name."""
        ...

    def decide(self, choose: Chooser) -> Any:
        """Makes every relevant decision with `choose`; returns the plan (plain data)."""
        ...

    def build(self, plan: Any, spec: InputSpec) -> torch.nn.Module:
        """Builds the network of `plan`: [N, channels, height, width] -> logits [N, classes]."""
        ...


@runtime_checkable
class Probe(Protocol):
    """Determines the latency of an ONNX file on a target.

    A probe may run the file on the target itself, run it on this host and scale the result, or predict it. The
    `evidence` of its report states which: `measured`, `proxy` or `predicted`. All three may rank candidates; only
    `measured` passes a gate. `key` contains the settings that decide the measurements (number of runs and processes,
    address), but not the file or the target: a stored report is reused only under the same key.

    Example:
        >>> class Constant:
        ...     def __init__(self, latency_ms=2.0):
        ...         self.latency_ms = latency_ms
        ...     def key(self):
        ...         return {"name": "constant", "latency_ms": self.latency_ms}
        ...     def measure(self, model, target):
        ...         ms = self.latency_ms * target.host_factor
        ...         return LatencyReport(
        ...             evidence="proxy", p50_ms=ms, p90_ms=ms, p95_ms=ms, p99_ms=ms, runs=1, processes=1,
        ...             threads=target.threads, spread=0.0, stable=True, model_sha256="", reference_p50_ms=1.0)
        >>> target = TargetDevice(
        ...     "pi", probe="constant", latency_ms=10.0, size_bytes=10**6, min_accuracy=0.9, host_factor=3.0)
        >>> report = Constant().measure(Path("model.onnx"), target)
        >>> report.evidence, report.p95_ms
        ('proxy', 6.0)
    """

    def key(self) -> dict[str, object]:
        """Returns the settings that decide the measurements of this probe, as plain data."""
        ...

    def measure(self, model: Path, target: TargetDevice) -> LatencyReport:
        """Returns the latency of one image.

        Raises:
            LatencyError: The file cannot be run.
        """
        ...
