from __future__ import annotations

import random

import pytest
import torch

from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.choosers import replay, sample
from nas_pipeline.space.enumeration import size
from nas_pipeline.space.load import build_network
from nas_pipeline.space.nasbench201 import NasBench201Space, architecture_of, from_architecture

CIFAR = InputSpec(3, 32, 32, 10)
CONV = "nor_conv_3x3"
ALL = f"|{CONV}~0|+|{CONV}~0|{CONV}~1|+|{CONV}~0|{CONV}~1|{CONV}~2|"


def weights(text: str, **options: int) -> int:
    return sum(parameter.numel() for parameter in build_network(from_architecture(text, **options), CIFAR).parameters())


def test_the_size_of_the_space() -> None:
    assert size(NasBench201Space()) == 5**6 == 15_625


def test_parameters_are_those_of_the_benchmark() -> None:
    """The largest and the smallest network of the benchmark: 1.531546 M and 0.073306 M."""
    assert weights(ALL) == 1_531_546
    assert weights(ALL.replace(CONV, "none")) == weights(ALL.replace(CONV, "skip_connect")) == 73_306


def test_an_edge_that_leads_nowhere_costs_nothing() -> None:
    dead = f"|{CONV}~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    assert weights(dead) == 73_306


def test_an_empty_cell_gives_zeros_and_still_has_gradients() -> None:
    net = build_network(from_architecture(ALL.replace(CONV, "none"), 4, 1), CIFAR)
    cell = net.get_submodule("features.stage1.0")
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    out = cell(x)
    assert not out.any()
    out.sum().backward()
    assert x.grad is not None


def test_a_cell_adds_up_its_edges() -> None:
    net = build_network(from_architecture("|skip_connect~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|skip_connect~1|"
                                          "avg_pool_3x3~2|", 4, 1), CIFAR)
    x = torch.randn(2, 4, 6, 6)
    pool = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(net.get_submodule("features.stage1.0")(x), x + pool(pool(x) + x))


def test_the_notation_goes_both_ways() -> None:
    space = NasBench201Space()
    for seed in range(20):
        genotype = sample(space, random.Random(seed))
        assert from_architecture(architecture_of(replay(space, genotype))) == genotype
    genes = from_architecture("|none~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|none~2|", 8, 2).as_dict()
    assert genes["node2.from1"] == "skip_connect"
    assert genes["node3.from1"] == "nor_conv_1x1"
    assert (genes["width"], genes["cells"]) == (8, 2)


@pytest.mark.parametrize(
    "text", ["", "|", ALL[:-1], ALL.replace("~2", "~1"), ALL + "+|none~0|", ALL.replace("+", ""), "x" + ALL]
)
def test_what_is_no_architecture_is_named(text: str) -> None:
    with pytest.raises(SpaceError, match="not a NAS-Bench-201 architecture"):
        from_architecture(text)


def test_an_operation_that_the_catalogue_lacks_is_named() -> None:
    with pytest.raises(SpaceError, match=r"'node1\.from0' holds 'conv_9x9'"):
        from_architecture(ALL.replace(CONV, "conv_9x9", 1))
