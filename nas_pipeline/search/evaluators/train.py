"""The evaluator `train`: a short real training, the cost of the network, and its measured latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.data.loaders import SearchData, load_search_data
from nas_pipeline.search.protocols import FailureKind, Metrics, Score
from nas_pipeline.space.cost import cost
from nas_pipeline.space.load import build_network
from nas_pipeline.train.budget import TrainBudget
from nas_pipeline.train.device import pick_device
from nas_pipeline.train.randomness import isolated
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.test_time_augmentation import with_test_time_augmentation
from nas_pipeline.train.trainer import EvaluationRow, fit

Deploy = Callable[[nn.Module, InputSpec], Metrics]
"""Network and shape of its input -> latency_ms and size_bytes, measured on the exported file."""


@dataclass(frozen=True)
class TrainEvaluator:
    """Trains a candidate briefly from scratch and scores it on the validation images.

    Every candidate gets the same budget, seed and order of images, so that differences come from the architecture.
    """

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 1

    metrics: ClassVar[tuple[str, ...]] = ("val_accuracy", "latency_ms", "size_bytes", "params", "macs")
    """The metrics that every score has, which an objective may therefore name."""

    data: Path
    """Folder of the ingested data; only its training and validation images are opened."""
    recipe: Recipe
    deploy: Deploy
    device_s: float | None = None
    epochs: float | None = None
    evaluations: int = 4
    seed: int = 0
    device: str = "auto"
    precision_cache: Path | None = None

    @cached_property
    def _data(self) -> SearchData:
        return load_search_data(self.data)

    def key(self) -> dict[str, object]:
        """Name, version, settings, and digest of the data."""
        return {"name": self.name, "version": self.version, "dataset": self._data.manifest.digest,
                "recipe": self.recipe.to_json(), "options": {
                    "device_s": self.device_s, "epochs": self.epochs, "evaluations": self.evaluations,
                    "seed": self.seed}}

    def evaluate(self, genotype: Genotype, on_evaluation: Callable[[Metrics], bool]) -> Score:
        """Measures cost and latency, then trains; `on_evaluation` gets all metrics at each evaluation point."""
        spec = self._data.manifest.spec
        with isolated(f"{self.seed}/deploy"):
            net = build_network(genotype, spec).eval()
            static: Metrics = {**_cost(net, spec), **self.deploy(with_test_time_augmentation(net, self.recipe), spec)}
        fitted = fit(
            lambda: build_network(genotype, spec), self._data, self.recipe,
            TrainBudget(epochs=self.epochs, device_s=self.device_s), seed=self.seed, device=pick_device(self.device),
            evaluations=self.evaluations, precision_cache=self.precision_cache, key=genotype.id,
            on_evaluation=lambda row: on_evaluation({**static, "val_accuracy": row["val_accuracy"]}),
        )
        metrics = {**static, "val_accuracy": fitted.val_accuracy}
        failure = "diverged: the loss is not a finite number" if fitted.ended == "diverged" else ""
        return Score(metrics, fitted.device_s, fitted.ended == "stopped", failure, _curve(fitted.history),
                     FailureKind.DIVERGED if failure else FailureKind.ERROR)


def _cost(net: nn.Module, spec: InputSpec) -> Metrics:
    with torch.no_grad():
        counted = cost(net, spec)
    return {"params": float(counted.params), "macs": float(counted.macs)}


def _curve(history: list[EvaluationRow]) -> list[float]:
    return [row["val_accuracy"] for row in history]
