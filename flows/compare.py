"""Two passes of the pipeline, output by output: the same bytes, the same but for what was measured, or different."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["same", "measured", "differs", "missing"]

_MEASURED_ENDS = ("_ms", "_s")
_MEASURED = {"spread", "host", "stable", "attempts", "started", "ended"}
"""Keys of what a clock or a machine says; all else is a function of code, parameters and seeds."""


_IN_WORDS = re.compile(r"\d[\d.,]*(?= m?s\b)")
"""Times in a sentence: p95 0.036 ms."""


def compare(
    before: Mapping[str, str], after: Mapping[str, str], cache: Path, root: Path
) -> dict[str, Verdict]:
    """The verdict on each output of the first pass, in its order.

    Args:
        before: Path -> md5 of the first pass.
        after: The same of the second.
        cache: DVC's cache in which the first pass's files may still be.
        root: Where the second pass's files are.
    """
    return {path: _verdict(path, md5, after.get(path), cache, root) for path, md5 in before.items()}


def steady(value: Any) -> Any:
    """A JSON value without what is measured anew in every run."""
    if isinstance(value, dict):
        if value.keys() >= {"gate", "passed", "figure"}:
            return {"gate": value["gate"], "passed": value["passed"]}
        return {key: steady(item) for key, item in value.items() if not _is_measured(key)}
    if isinstance(value, str):
        return _IN_WORDS.sub("some", value)
    return [steady(item) for item in value] if isinstance(value, list) else value


def _is_measured(key: str) -> bool:
    return key.endswith(_MEASURED_ENDS) or key in _MEASURED


def _verdict(path: str, before: str, after: str | None, cache: Path, root: Path) -> Verdict:
    if after is None:
        return "missing"
    if before == after:
        return "same"
    original = cache / "files" / "md5" / before[:2] / before[2:]
    if path.endswith(".json") and original.is_file():
        old, new = (json.loads(file.read_text(encoding="utf-8")) for file in (original, root / path))
        return "measured" if steady(old) == steady(new) else "differs"
    return "differs"
