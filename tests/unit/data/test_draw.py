import numpy as np
import pytest

from nas_pipeline.data.draw import stratified
from nas_pipeline.errors import DataError

IDS = [f"train-{number:06d}" for number in range(1000)]
LABELS = np.repeat(np.arange(4), [100, 200, 300, 400])


def test_classes_keep_their_shares():
    drawn = stratified(IDS, LABELS, 100, "0/val")
    assert np.bincount(LABELS[drawn]).tolist() == [10, 20, 30, 40]
    assert (np.diff(drawn) > 0).all()


@pytest.mark.parametrize("count", [0, 1, 7, 33, 999, 1000])
def test_the_count_is_met_and_no_class_is_more_than_one_off(count):
    drawn = stratified(IDS, LABELS, count, "0/val")
    assert len(set(drawn.tolist())) == count
    fair = np.array([0.1, 0.2, 0.3, 0.4]) * count
    assert (np.abs(np.bincount(LABELS[drawn], minlength=4) - fair) < 1).all()


def test_the_same_name_draws_the_same_and_another_name_another():
    again = stratified(IDS, LABELS, 100, "0/val")
    np.testing.assert_array_equal(stratified(IDS, LABELS, 100, "0/val"), again)
    other = stratified(IDS, LABELS, 100, "1/val")
    assert len(set(other.tolist()) & set(again.tolist())) < 40


def test_a_smaller_draw_is_part_of_a_larger_one():
    small = stratified(IDS, LABELS, 40, "0/limit")
    large = stratified(IDS, LABELS, 400, "0/limit")
    assert set(small.tolist()) <= set(large.tolist())


def test_order_of_the_items_does_not_matter():
    order = np.random.default_rng(0).permutation(len(IDS))
    shuffled = stratified([IDS[i] for i in order], LABELS[order], 100, "0/val")
    assert sorted(order[shuffled]) == stratified(IDS, LABELS, 100, "0/val").tolist()


def test_more_than_there_are():
    with pytest.raises(DataError, match="cannot draw 1001 of 1000"):
        stratified(IDS, LABELS, 1001, "0/val")
