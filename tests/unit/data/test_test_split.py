import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.data.test_split import count_reads, read_test
from nas_pipeline.errors import DataError


@pytest.fixture
def folder(tmp_path):
    ingest(Synthetic(train=60, test=20, side=8), tmp_path / "data", val=8, calib=8, limit=None, seed=0)
    return tmp_path / "data"


def digest(folder):
    return json.loads((folder / "dataset.json").read_text())["digest"]


def test_every_reading_is_in_the_ledger(folder, tmp_path):
    ledger = tmp_path / "new" / "test-reads.jsonl"
    assert count_reads(ledger, digest(folder)) == 0
    assert len(read_test(folder, ledger)) == 20
    read_test(folder, ledger)
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [set(line) for line in lines] == [{"dataset_digest", "when", "pid"}] * 2
    assert lines[0]["pid"] == os.getpid()
    assert datetime.fromisoformat(lines[0]["when"]).tzinfo is not None
    assert count_reads(ledger, digest(folder)) == 2
    assert count_reads(ledger, "another") == 0


def test_the_reading_counts_even_if_the_images_cannot_be_read(folder, tmp_path):
    (folder / "test.npz").unlink()
    with pytest.raises(DataError, match=r"test\.npz"):
        read_test(folder, tmp_path / "ledger")
    assert count_reads(tmp_path / "ledger", digest(folder)) == 1


def test_no_ledger_no_reading(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the test split is not read"):
        read_test(folder, tmp_path / "file" / "ledger")


def test_no_data_no_entry(tmp_path):
    with pytest.raises(DataError, match="run the ingest stage"):
        read_test(tmp_path, tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize("line", ["{", "[]", "{}"])
def test_a_damaged_ledger_is_not_guessed_at(tmp_path, line):
    (tmp_path / "ledger").write_text('{"dataset_digest":"d","when":"","pid":1}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2 of the ledger"):
        count_reads(tmp_path / "ledger", "d")


def read_often(folder, ledger):
    for _ in range(10):
        read_test(folder, ledger)


def test_racing_readers_are_all_counted(folder, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(read_often, folder, tmp_path / "ledger") for _ in range(3)]:
            done.result()
    assert count_reads(tmp_path / "ledger", digest(folder)) == 30
