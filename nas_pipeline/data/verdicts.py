"""Conversion of the results of Great Expectations to rows of the report, and the texts of refusals and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_IDS_NAMED = 10


def plain_check(table: str, outcome: dict[str, Any]) -> dict[str, Any]:
    """Convert the result of one expectation to a row of the report.

    Args:
        table: Name of the checked table; its rows have an `id`.
        outcome: JSON form of the result of Great Expectations, in result format COMPLETE.
    """
    config, result = outcome["expectation_config"], outcome["result"]
    column = config["kwargs"].get("column")
    rows = result.get("unexpected_index_list") or []
    offenders = {str(row.get("id")): str(row.get(column)) for row in rows}
    return {
        "table": table,
        "rule": config["meta"]["rule"],
        "level": config["meta"]["level"],
        "expectation": config["type"],
        "column": column,
        "success": bool(outcome["success"]),
        "observed": _observed(outcome, result),
        "offenders": len(rows),
        "first_offenders": [{"id": name, "value": value} for name, value in list(offenders.items())[:_IDS_NAMED]],
    }


def refusal_text(name: str, checks: list[dict[str, Any]], docs: Path) -> str:
    """Return the message of a refusal: each violated rule, the first rows that violate it, and the remedy."""
    failed = [check for check in checks if not check["success"]]
    refused = [check for check in failed if check["level"] == "refuse"]
    lines = [f"{name} was refused: {len(refused)} of {len(checks)} expectations are not met"]
    lines += [f"  - violated: {_with_offenders(check)}" for check in refused]
    lines += [f"  - {warning_text(check)}" for check in failed if check["level"] == "warn"]
    lines.append(
        f"What to do: read {docs}, correct or leave out these images in the source, "
        "and ingest again; or change the bounds in params.yaml if they are wrong for this data set."
    )
    return "\n".join(lines)


def warning_text(check: dict[str, Any]) -> str:
    """Return one line about a violated rule of level `warn`."""
    return f"warning: violated: {_with_offenders(check)}"


def _with_offenders(check: dict[str, Any]) -> str:
    ids = ", ".join(offender["id"] for offender in check["first_offenders"])
    more = f" and {check['offenders'] - _IDS_NAMED} more" if check["offenders"] > _IDS_NAMED else ""
    return f"{check['rule']} ({check['observed']}){f': {ids}{more}' if ids else ''}"


def _observed(outcome: dict[str, Any], result: dict[str, Any]) -> str:
    """A short description of the observed value."""
    if "unexpected_count" in result:
        return f"{result['unexpected_count']} of {result['element_count']} rows fail"
    if mismatched := result.get("details", {}).get("mismatched"):
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in mismatched.items())
    if "observed_value" in result:
        seen = result["observed_value"]
        return ", ".join(map(str, seen)) if isinstance(seen, list) else str(seen)
    errors = [item for item in outcome["exception_info"].values() if isinstance(item, dict)]
    return f"not checked: {errors[0].get('exception_message')}" if errors else "not checked"
