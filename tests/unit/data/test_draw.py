import numpy as np
import pytest

from nas_pipeline.data.draw import stratified, stratified_groups
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
    another_stream = stratified(IDS, LABELS, 100, "1/val")
    assert len(set(another_stream.tolist()) & set(again.tolist())) < 40


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


def test_groups_are_drawn_whole_and_near_the_quotas():
    groups = [f"g{row % 40}" for row in range(400)]
    labels = np.array([row // 10 % 4 for row in range(400)], dtype=np.int64)
    drawn = stratified_groups(groups, labels, 80, "0/val")
    assert {groups[row] for row in drawn}.isdisjoint(groups[row] for row in set(range(400)) - set(drawn.tolist()))
    assert abs(len(drawn) - 80) <= 10
    assert np.bincount(labels[drawn]).min() >= 15
    assert drawn.tolist() == sorted(drawn.tolist())
    np.testing.assert_array_equal(drawn, stratified_groups(groups, labels, 80, "0/val"))
    assert drawn.tolist() != stratified_groups(groups, labels, 80, "1/val").tolist()


def test_one_huge_group_does_not_take_all():
    groups = ["huge"] * 90 + ["a"] * 5 + ["b"] * 5
    labels = np.array([0, 1] * 50)
    for seed in range(5):
        assert len(stratified_groups(groups, labels, 10, f"{seed}/val")) in (5, 10)
    with pytest.raises(DataError, match=r"cannot draw from 1 group"):
        stratified_groups(["huge"] * 100, labels, 10, "0/val")
