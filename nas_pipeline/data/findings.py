"""Findings: checks of validation on the content of images. Each of them refuses the data set, warns, or is off.

A new finding is one row of `FINDINGS` and, where it needs one, a derived column in `validation_tables.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from nas_pipeline.core.catalog import Catalog

Level = Literal["refuse", "warn", "off"]


@dataclass(frozen=True, slots=True)
class FindingRule:
    """A bound on a column of the image table. `rule` states what holds for a good image and contains `{bound}`."""

    column: str
    rule: str
    bound: float
    is_least: bool
    """True: good values are at least the bound. False: they are at most the bound."""
    level: Level = "warn"

    @property
    def words(self) -> str:
        """The rule with its bound filled in."""
        return self.rule.format(bound=f"{self.bound:g}")

    def with_options(self, level: Level | None = None, bound: float | None = None) -> FindingRule:
        """Return a copy with the level and bound of params.yaml; None leaves a value as it is."""
        return replace(self, level=level or self.level, bound=self.bound if bound is None else bound)


FINDINGS: dict[str, FindingRule] = {
    "dark": FindingRule(
        "brightest", "no image is dark: its 99th percentile of brightness is at least {bound}", 0.3, True,
    ),
    "bright": FindingRule(
        "darkest", "no image is over-exposed: its 5th percentile of brightness is at most {bound}", 0.95, False,
    ),
    "low_information": FindingRule(
        "entropy", "no image is nearly empty: its histogram has at least {bound} bits", 1.0, True,
    ),
    "blurred": FindingRule(
        "sharpness", "no image is blurred: Laplacian over contrast is at least {bound}", 0.25, True,
    ),
    "odd_size": FindingRule(
        "size_ratio", "no file has {bound} times the pixels of the median file, or so many times fewer", 10.0, False,
    ),
    "odd_aspect": FindingRule(
        "aspect", "no file is over {bound} times as long as it is wide, or as wide as it is long", 3.0, False,
    ),
    "near_duplicates": FindingRule(
        "look_alikes", "no image has a near copy in another split (perceptual hash, {bound} of 256 bits)", 24, False,
    ),
}
"""Name in params.yaml -> finding. The default bounds give a few warnings on Fashion-MNIST."""


def findings(options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, FindingRule]:
    """Return all findings that are not off, with the options of params.yaml.

    Raises:
        ConfigError: A finding or one of its options is unknown; the message suggests the nearest name.
    """
    table: Catalog[FindingRule] = Catalog("finding", {name: row.with_options for name, row in FINDINGS.items()})
    chosen = {**FINDINGS, **{name: table.make(name, row) for name, row in (options or {}).items()}}
    return {name: row for name, row in chosen.items() if row.level != "off"}
