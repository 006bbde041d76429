"""The only door to the test split. Every opening is on the disk, in the ledger, before an image is read.

Only `train/retrain.py` imports this file: after the choice, once. A test of the code base holds that.
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
    """Note the reading in `ledger` (one JSON line: dataset_digest, when, pid), then read the test split.

    Raises:
        DataError: The folder is not an ingested one, or the ledger cannot be written: then nothing is read.
    """
    manifest = load_manifest(folder)
    entry = {"dataset_digest": manifest.digest, "when": datetime.now(UTC).isoformat(), "pid": os.getpid()}
    try:
        append_line(ledger, canonical_json(entry))
    except OSError as error:
        raise DataError(
            f"the ledger {ledger} cannot be written ({error.strerror}); the test split stays closed"
        ) from error
    return read_shard(folder, "test", manifest)


def count_reads(ledger: Path, digest: str) -> int:
    """How often the test split of the data set `digest` has been opened; 0 where there is no ledger yet.

    Raises:
        DataError: A line of the ledger is damaged, so that the count would be a guess.
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
