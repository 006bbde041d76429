"""Plug-ins that tests share and that worker processes can import: an instant evaluator and a gradient search."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import SearchRefusal
from nas_pipeline.search.protocols import Derived, Metrics, Score
from nas_pipeline.testing.toy import DECISIONS, ToySpace

__all__ = ["DECISIONS", "ToyDeriving", "ToyEvaluator", "ToySpace"]


@dataclass(frozen=True)
class ToyEvaluator:
    """Accuracy grows with the sum of the decisions, latency with the first three."""

    version: ClassVar[int] = 1

    fail_on: int = -1
    """Raise for candidates whose first decision is this."""
    wait_s: float = 0.0
    kill_at: int = -1
    """SIGKILL the worker's parent, and with it the worker, when so many candidates have been scored."""
    tally: Path | None = None
    """A file that gets one line per evaluation."""
    failure: str = ""
    """Report this failure for candidates whose first decision is `fail_on`, in place of an exception."""

    def key(self) -> dict[str, object]:
        return {"name": "toy", "version": self.version, "options": {}}

    def evaluate(self, genotype: Genotype, on_evaluation: Callable[[Metrics], bool]) -> Score:
        answers = [int(value) for _, value in genotype.genes]
        if self.tally is not None:
            with self.tally.open("a") as stream:
                stream.write(genotype.id + "\n")
            if self.kill_at >= 0 and len(self.tally.read_text().splitlines()) == self.kill_at:
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)
        if answers[0] == self.fail_on and self.failure:
            return Score({}, 0.0, failure=self.failure)
        if answers[0] == self.fail_on:
            raise RuntimeError("this candidate cannot be built")
        time.sleep(self.wait_s)
        accuracy = sum(answers) / (3 * DECISIONS)
        static = {"latency_ms": 0.1 + sum(answers[:3]) / 9, "size_bytes": 1000.0, "params": 250.0}
        for share in (0.25, 0.5, 1.0):
            if not on_evaluation({**static, "val_accuracy": accuracy * share}):
                return Score({**static, "val_accuracy": accuracy * share}, 0.0, stopped_early=True)
        return Score({**static, "val_accuracy": accuracy}, 1.0, curve=[accuracy])


@dataclass(frozen=True)
class ToyDeriving:
    """A strategy that searches inside the trial: its seed is the answer to every decision.

    A file `kill-SEED` in the folder of the search SIGKILLs the worker's parent, and with it the worker, once.
    """

    fail_on: int = -1
    refuse: bool = False
    seeds: int = 3

    version: ClassVar[int] = 1

    def key(self) -> dict[str, object]:
        return {"name": "toy", "version": self.version, "options": {"fail_on": self.fail_on, "refuse": self.refuse}}

    def check(self, space: Any) -> None:
        return None

    def derive(self, seed: int, folder: Path) -> Derived:
        home = folder.parents[1]
        with (home / "tally").open("a") as stream:
            stream.write(f"{seed}\n")
        if (kill := home / f"kill-{seed}").exists():
            kill.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        if seed == self.fail_on:
            raise RuntimeError("this supernet cannot be trained")
        if self.refuse:
            raise SearchRefusal("no genotype keeps the bound")
        return Derived(Genotype("toy", 1, tuple((f"d{i}", seed % 4) for i in range(DECISIONS))), 7.0, ({"epoch": 0},))
