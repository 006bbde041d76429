from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from nas_pipeline.core.protocols import Chooser, SearchSpace
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.enumeration import size
from nas_pipeline.space.flexible_cnn import FlexibleCnnSpace
from nas_pipeline.space.mbconv import MBConvSpace
from nas_pipeline.space.residual import ResidualSpace
from nas_pipeline.testing.odometer import enumerate_all


class Toy:
    """A space defined by a function of its chooser."""

    name = "toy"
    version = 1

    def __init__(self, decide: Callable[[Chooser], Any]) -> None:
        self._decide = decide

    def decide(self, choose: Chooser) -> Any:
        return self._decide(choose)

    def build(self, plan: Any, spec: InputSpec) -> nn.Module:
        raise NotImplementedError


def flat(choose: Chooser) -> None:
    choose.one_of("a", (1, 2, 3))
    choose.one_of("b", (False, True))


def opened_by_the_last_option(choose: Chooser) -> None:
    if choose.one_of("a", (0, 1, 2)) > 0:
        choose.one_of("b", "xyz")


def opened_by_the_first_option(choose: Chooser) -> None:
    for number in range(choose.one_of("n", (3, 1, 2))):
        choose.one_of(f"b{number}", "xyz")


def three_deep(choose: Chooser) -> None:
    choose.one_of("free", (1, 2))
    for number in range(choose.one_of("n", (1, 2))):
        if choose.one_of(f"{number}.a", (0, 1, 2)) and choose.one_of(f"{number}.b", (False, True)):
            choose.one_of(f"{number}.c", "vwxyz")


def different_children(choose: Chooser) -> None:
    kind = choose.one_of("kind", ("conv", "mbconv", "skip"))
    if kind == "mbconv":
        choose.one_of("expansion", (3, 4, 6))
    if kind != "skip":
        choose.one_of("kernel", (3, 5))


@pytest.mark.parametrize(
    ("decide", "expected"),
    [
        (flat, 6),
        (opened_by_the_last_option, 1 + 3 + 3),
        (opened_by_the_first_option, 27 + 3 + 9),
        (three_deep, 2 * (13 + 13 * 13)),
        (different_children, 2 + 3 * 2 + 1),
        (lambda choose: None, 1),
    ],
)
def test_sizes_of_trees(decide: Callable[[Chooser], Any], expected: int) -> None:
    members = list(enumerate_all(Toy(decide)))
    assert len({member.id for member in members}) == len(members) == expected
    assert size(Toy(decide)) == expected


def test_the_last_decision_turns_fastest() -> None:
    assert [member.genes for member in enumerate_all(Toy(flat))][:3] == [
        (("a", 1), ("b", False)), (("a", 1), ("b", True)), (("a", 2), ("b", False)),
    ]


def test_a_decision_that_hangs_on_two_others_is_found_out() -> None:
    def decide(choose: Chooser) -> None:
        a = choose.one_of("a", (False, True))
        b = choose.one_of("b", (False, True))
        if a and b:
            choose.one_of("c", (1, 2, 3))

    with pytest.raises(SpaceError, match=r"do not form a tree.*: c must depend on at most one"):
        size(Toy(decide))


def test_options_that_depend_on_a_choice_are_found_out() -> None:
    with pytest.raises(SpaceError, match=r"do not form a tree.*: b must"):
        size(Toy(lambda choose: choose.one_of("b", (1, 2)[: choose.one_of("a", (1, 2))])))


def test_reals_cannot_be_counted() -> None:
    space = Toy(lambda choose: choose.real("x", 0.0, 1.0))
    with pytest.raises(SpaceError, match="'x' is a real number"):
        size(space)
    with pytest.raises(SpaceError, match="'x' is a real number"):
        next(enumerate_all(space))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (
            ResidualSpace(max_width=32, stem_widths=[16], stem_strides=[1], blocks=[0, 1], transitions=["pool"]),
            # stages 1 to 3 have 3, 2 and 1 widths; 1 + 2 kinds of blocks each; 2 poolings
            2 * (9 * 6 + 9 * 6 * 3),
        ),
        (
            FlexibleCnnSpace(blocks=[2, 3], channels=[16], kernels=[3], dropouts=[0.0, 0.1]),
            2 * (4**2 + 4**3),
        ),
        (
            MBConvSpace(
                max_width=32, stages=[3], stem_widths=[16], stem_strides=[1], head_widths=[64], kernels=[3],
                expansions=[1], squeeze_excitation=[False], depths=[1, 2],
            ),
            # 3, 2 and 1 widths; depth 1, or depth 2 with or without skip
            (3 * 3) * (2 * 3) * (1 * 3),
        ),
    ],
)
def test_sizes_of_narrowed_spaces(space: SearchSpace, expected: int) -> None:
    assert sum(1 for _ in enumerate_all(space)) == expected
    assert size(space) == expected


def test_sizes_of_the_full_spaces() -> None:
    assert size(ResidualSpace()) == 4 * 2 * 2 * (50**2 + 50**3)
    assert size(FlexibleCnnSpace()) == 4 * sum(48**blocks for blocks in (2, 3, 4, 5))
    assert size(MBConvSpace()) == 3 * 2 * 3 * (450**3 + 450**4)
