"""What validation finds in images beyond what makes a table wrong: each finding warns, refuses or is not looked for.

A table: a new finding is a row here and, if it needs one, a derived column in `judged.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from nas_pipeline.core.catalog import Catalog

Level = Literal["refuse", "warn", "off"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A bound on a column of the images' table. `rule` says what holds for a good image, with `{bound}` in it."""

    column: str
    rule: str
    bound: float
    is_least: bool
    """Whether good values lie above the bound, or below it."""
    level: Level = "warn"

    @property
    def words(self) -> str:
        """The rule with its bound."""
        return self.rule.format(bound=f"{self.bound:g}")

    def with_options(self, level: Level | None = None, bound: float | None = None) -> Finding:
        """The same with what params.yaml says about it."""
        return replace(self, level=level or self.level, bound=self.bound if bound is None else bound)


FINDINGS: dict[str, Finding] = {
    "dark": Finding("brightest", "no image is dark: its 99th percentile of brightness is at least {bound}", 0.3, True),
    "bright": Finding("darkest", "no image is over-exposed: its 5th percentile of brightness is at most {bound}",
                      0.95, False),
    "low_information": Finding("entropy", "no image is nearly empty: its histogram has at least {bound} bits",
                               1.0, True),
    "blurred": Finding("sharpness", "no image is blurred: Laplacian over contrast is at least {bound}", 0.25, True),
    "odd_size": Finding("size_ratio", "no file has {bound} times the pixels of the median file, or so many times fewer",
                        10.0, False),
    "odd_aspect": Finding("aspect", "no file is over {bound} times as long as it is wide, or as wide as it is long",
                          3.0, False),
    "near_duplicates": Finding(
        "look_alikes", "no image has a near copy in another split (perceptual hash, {bound} of 256 bits)", 24,
        False,
    ),
}
"""Name in params.yaml -> finding. Bounds were set so that Fashion-MNIST gives a handful of warnings."""


def findings(options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Finding]:
    """All findings that are looked for, with the options of params.yaml.

    Raises:
        ConfigError: There is no such finding, or it has no such option; the nearest name is offered.
    """
    table: Catalog[Finding] = Catalog("finding", {name: row.with_options for name, row in FINDINGS.items()})
    chosen = {**FINDINGS, **{name: table.make(name, given) for name, given in (options or {}).items()}}
    return {name: row for name, row in chosen.items() if row.level != "off"}
