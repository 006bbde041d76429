"""Reading of the test split. Every read is recorded in a ledger on disk before an image is read.

`train/retrain.py` is the only importer of this module; it reads the split once, after the choice. A test of the code
base checks this.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from nas_pipeline.core.files import append_line, canonical_json
from nas_pipeline.data.loaders import load_manifest
from nas_pipeline.data.shards import Split, read_shard
from nas_pipeline.errors import DataError


def read_test(folder: Path, ledger: Path) -> Split:
    """Record the read in `ledger` (one JSON line: dataset_digest, when, pid), then read the test split.

    Raises:
        DataError: The folder was not written by `ingest`, or the ledger cannot be written; nothing is read then.
    """
    manifest = load_manifest(folder)
    entry = {"dataset_digest": manifest.digest, "when": datetime.now(UTC).isoformat(), "pid": os.getpid()}
    try:
        append_line(ledger, canonical_json(entry))
    except OSError as error:
        raise DataError(
            f"the ledger {ledger} cannot be written ({error.strerror}); the test split is not read"
        ) from error
    return read_shard(folder, "test", manifest)


def count_reads(ledger: Path, digest: str) -> int:
    """Return how often the test split of the data set `digest` was read; 0 if there is no ledger.

    Raises:
        DataError: A line of the ledger is damaged, so that the count is unknown.
    """
    if not ledger.exists():
        return 0
    reads = 0
    for number, line in enumerate(ledger.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            reads += json.loads(line)["dataset_digest"] == digest
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"line {number} of the ledger {ledger} is damaged: {line!r:.100}") from error
    return reads
