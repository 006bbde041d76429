"""A small space without networks, on which strategies are tested."""

from __future__ import annotations

from typing import Any

from nas_pipeline.core.protocols import Chooser

DECISIONS = 10


class ToySpace:
    """Ten decisions with four options each; the best choice of all of them is 3."""

    name = "toy"
    version = 1

    def key(self) -> dict[str, object]:
        """Name, version and options, of which there are none."""
        return {"name": self.name, "version": self.version, "options": {}}

    def decide(self, choose: Chooser) -> tuple[int, ...]:
        """Makes the ten decisions."""
        return tuple(choose.one_of(f"d{number}", (0, 1, 2, 3)) for number in range(DECISIONS))

    def build(self, plan: Any, spec: Any) -> Any:
        """Raises: the space has no networks."""
        raise NotImplementedError("the toy space has no networks")


def toy_score(plan: tuple[int, ...]) -> float:
    """Returns the mean of the choices as a share of the best one, in [0, 1]."""
    return sum(plan) / (3 * DECISIONS)
