"""Compares the outputs of two pipeline runs: equal bytes, equal except for measurements, or different."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

OutputVerdict = Literal["same", "measured", "differs", "missing"]

_MEASURED_SUFFIXES = ("_ms", "_s")
_MEASURED = {"spread", "host", "stable", "attempts", "started", "ended"}
"""Keys of measured values; all other values are functions of code, parameters and seeds."""


_TIME_IN_TEXT = re.compile(r"\d[\d.,]*(?= m?s\b)")
"""Matches the number of a time in text: p95 0.036 ms."""


def compare(
    before: Mapping[str, str], after: Mapping[str, str], cache: Path, root: Path
) -> dict[str, OutputVerdict]:
    """Returns a verdict for each output of the first run, in its order.

    Args:
        before: Path -> md5 in the first run.
        after: Path -> md5 in the second run.
        cache: DVC's cache, which may contain the files of the first run.
        root: Folder with the files of the second run.
    """
    return {path: _verdict(path, md5, after.get(path), cache, root) for path, md5 in before.items()}


def without_measurements(value: Any) -> Any:
    """Returns a JSON value without its measured parts, which differ between runs."""
    if isinstance(value, dict):
        if value.keys() >= {"gate", "passed", "figure"}:
            return {"gate": value["gate"], "passed": value["passed"]}
        return {key: without_measurements(item) for key, item in value.items() if not _is_measured(key)}
    if isinstance(value, str):
        return _TIME_IN_TEXT.sub("some", value)
    return [without_measurements(item) for item in value] if isinstance(value, list) else value


def _is_measured(key: str) -> bool:
    return key.endswith(_MEASURED_SUFFIXES) or key in _MEASURED


def _verdict(path: str, before: str, after: str | None, cache: Path, root: Path) -> OutputVerdict:
    if after is None:
        return "missing"
    if before == after:
        return "same"
    original = cache / "files" / "md5" / before[:2] / before[2:]
    if path.endswith(".json") and original.is_file():
        old, new = (json.loads(file.read_text(encoding="utf-8")) for file in (original, root / path))
        return "measured" if without_measurements(old) == without_measurements(new) else "differs"
    return "differs"
