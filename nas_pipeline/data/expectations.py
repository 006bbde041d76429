"""Validation: a Great Expectations checkpoint over the manifest table. The only importer of great_expectations.

The report and the docs are written before an error is raised, so that they explain a refusal.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.core.expect_table_row_count_to_equal import ExpectTableRowCountToEqual

from nas_pipeline.core.files import write_json, write_text
from nas_pipeline.core.records import DatasetManifest
from nas_pipeline.data.data_docs import render
from nas_pipeline.data.findings import FINDINGS, FindingRule
from nas_pipeline.data.findings import findings as active_findings
from nas_pipeline.data.loaders import load_manifest
from nas_pipeline.data.shards import SPLITS
from nas_pipeline.data.table import COLUMNS, read_table
from nas_pipeline.data.validation_tables import (
    DERIVED,
    LABEL_NAME_FITS,
    LOOK_ALIKES,
    SPLITS_OF_GROUP,
    SPLITS_OF_IMAGE,
    class_table,
    image_table,
)
from nas_pipeline.data.verdicts import plain_check, refusal_text, warning_text
from nas_pipeline.errors import DataRefusal

log = logging.getLogger(__name__)

Suites = dict[str, list[Any]]
"""Table -> expectations; their `meta` contains the text of the rule."""


def validate(
    folder: Path, out: Path, *, min_per_class: int, min_side: int, max_side: int, max_class_drift: float,
    findings: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Check an ingested folder, write `out`/report.json and `out`/data_docs/index.html, and return the report.

    Args:
        folder: The output folder of `ingest`.
        out: Folder for report and docs.
        min_per_class: Smallest number of images of a class in a split.
        min_side: Lower bound on the width and height of an image, in pixels.
        max_side: Upper bound on the width and height of an image, in pixels.
        max_class_drift: Upper bound on the difference between a class's shares in any two splits.
        findings: Name of a finding -> level (refuse, warn, off) and bound, if they differ from `FINDINGS`.

    Raises:
        ConfigError: A finding is unknown.
        DataError: `folder` was not written by `ingest`.
        DataRefusal: An expectation of level `refuse` is not met; the message names its first ten rows.
    """
    manifest = load_manifest(folder)
    table = read_table(folder / "manifest.parquet")
    splits = [split for split in SPLITS if manifest.counts.get(split)]
    active = active_findings(findings)
    near = active.get("near_duplicates", FINDINGS["near_duplicates"])
    images = image_table(table, manifest.class_names, int(near.bound))
    suites: Suites = {"images": _image_suite(manifest, splits, min_side, max_side, active)}
    tables = {"images": images}
    if {"split", "label"} <= set(table):
        suites["classes"] = _class_suite(min_per_class, max_class_drift)
        tables["classes"] = class_table(table, splits, manifest.class_names)
    with tempfile.TemporaryDirectory() as work:
        paths = {name: Path(work) / f"{name}.parquet" for name in tables}
        for name, content in tables.items():
            content.to_parquet(paths[name], index=False)
        checks = _run_checkpoint(suites, paths)
    report = {
        "success": all(check["success"] for check in checks if check["level"] == "refuse"),
        "warnings": sum(not check["success"] for check in checks if check["level"] == "warn"),
        "dataset": {
            "name": manifest.name, "digest": manifest.digest,
            "counts": {split: manifest.counts[split] for split in splits},
        },
        "rows": len(table),
        "bounds": {
            "min_per_class": min_per_class, "min_side": min_side, "max_side": max_side,
            "max_class_drift": max_class_drift,
            **{name: f"{row.bound:g} ({row.level})" for name, row in active.items()},
        },
        "engine": f"great_expectations {gx.__version__}",
        "notes": {key: value for key, value in manifest.notes.items() if isinstance(value, int)},
        "expectations": checks,
    }
    write_json(out / "report.json", report)
    docs = out / "data_docs" / "index.html"
    write_text(docs, render(report))
    if not report["success"]:
        raise DataRefusal(refusal_text(manifest.name, checks, docs))
    for check in checks:
        if not check["success"]:
            log.warning("%s", warning_text(check))
    log.debug("validated %s: %d rows, %d expectations", manifest.name, len(table), len(checks))
    return report


def _image_suite(
    manifest: DatasetManifest, splits: list[str], min_side: int, max_side: int, active: Mapping[str, FindingRule]
) -> list[Any]:
    """Expectations on the table with one row per image."""
    spec = manifest.spec
    return [
        ExpectTableColumnsToMatchSet(
            column_set=[*COLUMNS, *DERIVED], exact_match=True,
            meta=_rule("the table has the columns of a manifest and no others"),
        ),
        ExpectTableRowCountToEqual(
            value=sum(manifest.counts.values()), meta=_rule("there are as many rows as dataset.json says"),
        ),
        *(
            ExpectColumnValuesToNotBeNull(column=column, meta=_rule(f"every image has its {column}"))
            for column in COLUMNS
        ),
        ExpectColumnValuesToBeUnique(column="id", meta=_rule("no id is used twice")),
        ExpectColumnValuesToBeInSet(
            column="split", value_set=splits, meta=_rule(f"every split is one of {', '.join(splits)}"),
        ),
        ExpectColumnValuesToBeInSet(
            column="label", value_set=list(range(spec.classes)), meta=_rule(f"every label is in 0..{spec.classes - 1}"),
        ),
        ExpectColumnValuesToBeInSet(
            column=LABEL_NAME_FITS, value_set=[True], meta=_rule("every label has the name that dataset.json gives it"),
        ),
        *(
            ExpectColumnValuesToBeBetween(
                column=side, min_value=min_side, max_value=max_side,
                meta=_rule(f"the {side} of every image is {min_side} to {max_side} pixels"),
            )
            for side in ("width", "height")
        ),
        ExpectColumnValuesToBeInSet(
            column="channels", value_set=[spec.channels], meta=_rule(f"every image has {spec.channels} channel(s)"),
        ),
        ExpectColumnValuesToBeInSet(
            column="decoded", value_set=[True], meta=_rule("every image could be decoded from its shard"),
        ),
        ExpectColumnValuesToBeBetween(
            column="std", min_value=0, strict_min=True, meta=_rule("no image is of one colour (std > 0)"),
        ),
        ExpectColumnValuesToBeBetween(
            column=SPLITS_OF_IMAGE, max_value=1, meta=_rule("no image has an exact copy in another split"),
        ),
        ExpectColumnValuesToBeBetween(
            column=SPLITS_OF_GROUP, max_value=1, meta=_rule("no group has images in two splits"),
        ),
        *(_finding(row) for row in active.values()),
    ]


def _class_suite(min_per_class: int, max_class_drift: float) -> list[Any]:
    """Expectations on the table with one row per class and split."""
    return [
        ExpectColumnValuesToBeBetween(
            column="images", min_value=min_per_class,
            meta=_rule(f"every class has at least {min_per_class} images in every split"),
        ),
        ExpectColumnValuesToBeBetween(
            column="drift", max_value=max_class_drift,
            meta=_rule(f"the share of a class differs by at most {max_class_drift:g} between splits"),
        ),
    ]


def _finding(row: FindingRule) -> Any:
    if row.column == LOOK_ALIKES:  # its bound is in bits and was applied when the column was computed
        bounds: dict[str, Any] = {"max_value": 0.0}
    else:
        bounds = {"min_value" if row.is_least else "max_value": row.bound}
    return ExpectColumnValuesToBeBetween(column=row.column, **bounds, meta=_rule(row.words, row.level))


def _rule(words: str, level: str = "refuse") -> dict[str, str]:
    return {"rule": words, "level": level}


def _run_checkpoint(suites: Suites, paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Run the suites as one checkpoint and flatten its results, in the order of the suites."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.variables.analytics_enabled = False
    source = context.data_sources.add_pandas("manifest")
    definitions = []
    for name, expectations in suites.items():
        asset: Any = source.add_parquet_asset(name, path=paths[name])
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = gx.ValidationDefinition(name=name, data=asset.add_batch_definition(name), suite=suite)
        definitions.append(context.validation_definitions.add(definition))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="ingested",
            validation_definitions=definitions,
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]},
        )
    )
    checks: list[dict[str, Any]] = []
    for result in checkpoint.run().run_results.values():
        table = str(result.suite_name)
        position = {item.meta["rule"]: index for index, item in enumerate(suites[table])}
        flat = [plain_check(table, item.to_json_dict()) for item in result.results]
        checks += sorted(flat, key=lambda check: position[check["rule"]])  # Great Expectations lists failures first
    return checks
