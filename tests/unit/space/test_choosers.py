from __future__ import annotations

import doctest
import random
from typing import Any

import pytest
from torch import nn

from nas_pipeline.core.genotype import Gene, Genotype
from nas_pipeline.core.protocols import Chooser
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space import choosers
from nas_pipeline.space.choosers import DecisionRecorder, RandomChooser, crossover, mutate, replay, sample


class Shelf:
    """A toy space: rows of books, a colour for each row but only if there is more than one, and a height."""

    name = "shelf"
    version = 2

    def decide(self, choose: Chooser) -> Any:
        rows = choose.one_of("rows", (1, 2, 3))
        colours = tuple(choose.one_of(f"row{n}.colour", ("red", "blue")) for n in range(rows)) if rows > 1 else ()
        return rows, colours, choose.one_of("door", (False, True)), choose.real("height", 0.01, 10.0, log=True)

    def build(self, plan: Any, spec: InputSpec) -> nn.Module:
        raise NotImplementedError


def shelf(*genes: tuple[str, Gene]) -> Genotype:
    return Genotype("shelf", 2, genes)


TWO_ROWS = shelf(("rows", 2), ("row0.colour", "red"), ("row1.colour", "blue"), ("door", True), ("height", 1.5))


def test_equal_seeds_draw_equal_members_and_all_options_are_drawn() -> None:
    draws = [sample(Shelf(), random.Random(seed)) for seed in range(100)]
    assert draws == [sample(Shelf(), random.Random(seed)) for seed in range(100)]
    assert {draw.as_dict()["rows"] for draw in draws} == {1, 2, 3}
    assert {draw.as_dict()["door"] for draw in draws} == {False, True}


def test_reals_stay_in_range_and_log_draws_are_uniform_in_the_logarithm() -> None:
    draw = RandomChooser(random.Random(0))
    logs = [draw.real("x", 0.01, 100.0, log=True) for _ in range(400)]
    assert all(0.01 <= value <= 100 for value in logs)
    assert 150 < sum(value < 1 for value in logs) < 250
    flat = [draw.real("x", -1.0, 1.0) for _ in range(400)]
    assert all(-1 <= value <= 1 for value in flat)
    assert 150 < sum(value < 0 for value in flat) < 250


def test_replay_gives_the_plan() -> None:
    assert replay(Shelf(), TWO_ROWS) == (2, ("red", "blue"), True, 1.5)


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (shelf(("rows", 1), ("height", 1.0)), r"gene 'door' is missing; space 'shelf' offers False, True"),
        (shelf(("rows", 1), ("door", True)), r"gene 'height' is missing; .* a number in \[0\.01, 10\.0\]"),
        (shelf(("rows", 7), ("door", True), ("height", 1.0)), r"gene 'rows' holds 7, .* it offers 1, 2, 3"),
        (shelf(("rows", 1), ("door", 1), ("height", 1.0)), r"gene 'door' holds 1, "),
        (shelf(("rows", True), ("door", True), ("height", 1.0)), r"gene 'rows' holds True, "),
        (shelf(("rows", 1), ("door", True), ("height", 11.0)), r"gene 'height' holds 11\.0; .* \[0\.01, 10\.0\]"),
        (shelf(("rows", 1), ("door", True), ("height", "tall")), r"gene 'height' holds 'tall'"),
        (
            shelf(("rows", 1), ("door", True), ("height", 1.0), ("row0.colour", "red")),
            r"no decision for row0\.colour = 'red'; it decides door, height, rows",
        ),
        (shelf(("rows", 1), ("rows", 1), ("door", True), ("height", 1.0)), r"holds rows twice"),
        (Genotype("shelf", 1, ()), r"is of space 'shelf' version 1, not of 'shelf' version 2"),
    ],
)
def test_replay_is_strict_and_says_why(genotype: Genotype, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        replay(Shelf(), genotype)


def test_mutation_keeps_what_it_can_and_closes_what_it_must() -> None:
    children = [mutate(Shelf(), TWO_ROWS, random.Random(seed)).as_dict() for seed in range(60)]
    assert all(child != TWO_ROWS.as_dict() for child in children)
    one_row = next(child for child in children if child["rows"] == 1)
    assert one_row == {"rows": 1, "door": True, "height": 1.5}
    three_rows = next(child for child in children if child["rows"] == 3)
    assert {name: three_rows[name] for name in ("row0.colour", "row1.colour", "door", "height")} == {
        "row0.colour": "red", "row1.colour": "blue", "door": True, "height": 1.5,
    }
    assert any(child["height"] != 1.5 for child in children)


def test_mutation_needs_a_second_option() -> None:
    class Alone(Shelf):
        def decide(self, choose: Chooser) -> Any:
            return choose.one_of("rows", (1,))

    with pytest.raises(SpaceError, match="no decision of space 'shelf' has a second option"):
        mutate(Alone(), shelf(("rows", 1)), random.Random(0))


def test_mutation_refuses_a_stranger() -> None:
    with pytest.raises(SpaceError, match="'door' is missing"):
        mutate(Shelf(), shelf(("rows", 1)), random.Random(0))


def test_crossover_mixes_both_parents_and_draws_the_rest() -> None:
    partner = shelf(("rows", 1), ("door", False), ("height", 9.0))
    children = [crossover(Shelf(), TWO_ROWS, partner, random.Random(seed)).as_dict() for seed in range(60)]
    assert {(child["rows"], child["door"], child["height"]) for child in children} == {
        (rows, door, height) for rows in (1, 2) for door in (False, True) for height in (1.5, 9.0)
    }
    assert all(child.get("row0.colour", "red") == "red" for child in children)
    with pytest.raises(SpaceError):
        crossover(Shelf(), TWO_ROWS, shelf(("rows", 1)), random.Random(0))


def test_a_name_asked_twice_is_a_defect_of_the_space() -> None:
    recorder = DecisionRecorder(RandomChooser(random.Random(0)))
    recorder.one_of("a", (1, 2))
    with pytest.raises(SpaceError, match="two decisions called 'a'"):
        recorder.real("a", 0.0, 1.0)


def test_the_examples_of_the_module_run() -> None:
    result = doctest.testmod(choosers)
    assert result.attempted > 0
    assert result.failed == 0
