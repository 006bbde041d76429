"""What validation found, in plain rows: from an outcome of Great Expectations to the report and the refusal's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_IDS_NAMED = 10


def plain_check(table: str, outcome: dict[str, Any]) -> dict[str, Any]:
    """One expectation's outcome (its JSON form, result format COMPLETE) as a row of the report.

    Args:
        table: The table that the expectation is about; its rows have an `id`.
        outcome: As Great Expectations gives it.
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
    """The message for whoever is refused: each rule that is broken, the first rows that break it, and what to do."""
    failed = [check for check in checks if not check["success"]]
    refused = [check for check in failed if check["level"] == "refuse"]
    lines = [f"{name} was refused: {len(refused)} of {len(checks)} expectations are not met"]
    lines += [f"  - broken: {_with_offenders(check)}" for check in refused]
    lines += [f"  - {warning_text(check)}" for check in failed if check["level"] == "warn"]
    lines.append(
        f"What to do: read {docs}, correct or leave out these images in the source, "
        "and ingest again; or change the bounds in params.yaml if they are wrong for this data set."
    )
    return "\n".join(lines)


def warning_text(check: dict[str, Any]) -> str:
    """One line about a finding that does not refuse the data."""
    return f"warning: not so: {_with_offenders(check)}"


def _with_offenders(check: dict[str, Any]) -> str:
    ids = ", ".join(offender["id"] for offender in check["first_offenders"])
    more = f" and {check['offenders'] - _IDS_NAMED} more" if check["offenders"] > _IDS_NAMED else ""
    return f"{check['rule']} ({check['observed']}){f': {ids}{more}' if ids else ''}"


def _observed(outcome: dict[str, Any], result: dict[str, Any]) -> str:
    """What was seen, in a few words."""
    if "unexpected_count" in result:
        return f"{result['unexpected_count']} of {result['element_count']} rows fail"
    if mismatched := result.get("details", {}).get("mismatched"):
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in mismatched.items())
    if "observed_value" in result:
        seen = result["observed_value"]
        return ", ".join(map(str, seen)) if isinstance(seen, list) else str(seen)
    errors = [item for item in outcome["exception_info"].values() if isinstance(item, dict)]
    return f"not checked: {errors[0].get('exception_message')}" if errors else "not checked"
