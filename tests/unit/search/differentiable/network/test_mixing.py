import pytest
import torch
from torch import nn

from nas_pipeline.search.differentiable.network.mixing import (
    KINDS,
    edge_softmax,
    edges,
    gumbel_mixing,
    partial_mixing,
    softmax_mixing,
)


class Architecture:
    def __init__(self, *, betas: bool) -> None:
        torch.manual_seed(0)
        self.alphas = nn.ParameterDict({kind: nn.Parameter(torch.randn(14, 8, dtype=torch.float64)) for kind in KINDS})
        self.betas = nn.ParameterDict(
            {kind: nn.Parameter(torch.randn(14, dtype=torch.float64)) for kind in KINDS} if betas else {}
        )


def test_edges_are_node_by_node_and_sources_ascend() -> None:
    assert edges(2) == ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1))
    assert [len(edges(nodes)) for nodes in range(5)] == [0, 2, 5, 9, 14]


def test_softmax_is_over_the_operations_of_an_edge() -> None:
    mixing = softmax_mixing(Architecture(betas=False))
    for kind in KINDS:
        torch.testing.assert_close(mixing[kind].op_weights.sum(1), torch.ones(14, dtype=torch.float64))
        assert mixing[kind].edge_weights is None
        assert mixing[kind].chosen is None


def test_edge_weights_add_up_to_one_at_each_node() -> None:
    net = Architecture(betas=True)
    weights = partial_mixing(net)["reduce"].edge_weights
    assert weights is not None
    for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
        torch.testing.assert_close(weights[first:last], torch.softmax(net.betas["reduce"][first:last], 0))
    torch.testing.assert_close(edge_softmax(net.betas["reduce"]), weights)


def test_a_gumbel_sample_is_one_operation_an_edge_with_the_gradient_of_the_soft_one() -> None:
    net, temperature = Architecture(betas=False), 0.7
    mixing = gumbel_mixing(net, temperature, torch.Generator().manual_seed(5))["normal"]
    assert mixing.chosen is not None
    one_hot = nn.functional.one_hot(mixing.chosen, 8).double()
    assert torch.equal(mixing.op_weights, one_hot)
    noise = torch.empty(14, 8, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(5)).log().neg()
    soft = torch.softmax((torch.log_softmax(net.alphas["normal"], 1) + noise) / temperature, 1)
    assert torch.equal(soft.argmax(1), mixing.chosen)
    direction = torch.randn(14, 8, dtype=torch.float64)
    actual, desired = (
        torch.autograd.grad((weights * direction).sum(), net.alphas["normal"])[0]
        for weights in (mixing.op_weights, soft)
    )
    torch.testing.assert_close(actual, desired)


def test_operations_are_sampled_by_their_probability() -> None:
    net = Architecture(betas=False)
    generator = torch.Generator().manual_seed(1)
    counts = torch.zeros(14, 8, dtype=torch.float64)
    draws = 2000
    for _ in range(draws):
        chosen = gumbel_mixing(net, 1.0, generator)["normal"].chosen
        assert chosen is not None
        counts[torch.arange(14), chosen] += 1
    assert (counts / draws - torch.softmax(net.alphas["normal"], 1)).abs().max() < 0.05


@pytest.mark.parametrize("betas", [False, True])
def test_the_generator_decides(betas: bool) -> None:
    net = Architecture(betas=betas)
    first, same_seed, other_seed = (gumbel_mixing(net, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["normal"].op_weights, same_seed["normal"].op_weights)
    assert not torch.equal(first["normal"].op_weights, other_seed["normal"].op_weights)
    assert (first["normal"].edge_weights is not None) == betas
