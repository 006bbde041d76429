import numpy as np
import pandas as pd
import pytest

from nas_pipeline.data.table import moments, pixel_sums, read_table, table_digest
from nas_pipeline.errors import DataError
from tests.unit.data.toy_data import noise

ROWS = pd.DataFrame({"id": ["a", "b"], "split": ["train", "val"], "label": [0, 1], "sha256": ["x", "y"], "std": [1, 2]})


def test_moments_are_those_of_numpy():
    images = noise(5000, side=5, channels=3)
    mean, std = moments(*pixel_sums(images), pixels=25)
    values = images.reshape(5000, 25, 3) / 255
    np.testing.assert_allclose(mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=1), rtol=1e-12)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_a_constant_image_has_a_deviation_of_exactly_zero(value):
    _, std = moments(*pixel_sums(np.full((1, 31, 29, 1), value, dtype=np.uint8)), pixels=31 * 29)
    assert std[0, 0] == 0.0


def test_sums_beyond_64_bits():
    big = np.array([[1 << 40]])
    mean, std = moments(big * 255, big * 255 * 255, pixels=1 << 40)
    assert mean[0, 0] == 1.0
    assert std[0, 0] == 0.0


def test_the_digest_is_of_the_rows_not_of_their_order():
    assert table_digest(ROWS) == table_digest(ROWS[::-1])
    assert table_digest(ROWS) == table_digest(ROWS.assign(std=3))


@pytest.mark.parametrize("column", ["id", "split", "label", "sha256"])
def test_the_digest_sees_what_identifies_a_row(column):
    changed = ROWS.assign(**{column: ROWS[column].iloc[::-1].to_numpy()})
    assert table_digest(changed) != table_digest(ROWS)


def test_a_table_that_is_missing_or_damaged(tmp_path):
    with pytest.raises(DataError, match="run the ingest stage"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(DataError, match="is not a parquet file"):
        read_table(tmp_path / "bad.parquet")
