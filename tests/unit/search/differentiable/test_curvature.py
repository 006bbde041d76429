"""The dominant eigenvalue against a dense solver."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nas_pipeline.core.records import InputSpec
from nas_pipeline.search.differentiable.curvature import dominant_eigenvalue
from nas_pipeline.search.differentiable.network.mixing import softmax_mixing
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork
from nas_pipeline.train.randomness import generator, isolated


def eigenvalue(values: list[float], **options: float) -> float:
    """Of a quadratic form in two tensors whose Hessian has these eigenvalues."""
    stream = generator("curvature")
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=stream, dtype=torch.float64))
    hessian = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T
    alphas = [torch.randn(2, 1, dtype=torch.float64, requires_grad=True),
              torch.randn(len(values) - 2, dtype=torch.float64, requires_grad=True)]
    flat = torch.cat([alpha.flatten() for alpha in alphas])
    return dominant_eigenvalue(0.5 * flat @ hessian @ flat, alphas, generator("start"), iterations=300, tolerance=1e-9)


@pytest.mark.parametrize("values", [[5.0, 1.0, 0.5, -2.0], [-5.0, 1.0, 0.5, -2.0], [-5.0, -4.0, -3.0, -1.0]])
def test_it_is_the_largest_one(values: list[float]) -> None:
    assert eigenvalue(values) == pytest.approx(max(values), abs=1e-5)


def test_a_loss_that_is_linear_in_the_alphas_has_none() -> None:
    alpha, unused = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    assert dominant_eigenvalue(alpha.sum() * 2, [alpha, unused], generator("start")) == 0.0


def test_on_a_search_network_it_is_that_of_the_dense_hessian() -> None:
    spec = InputSpec(channels=1, height=6, width=6, classes=3)
    with isolated("curvature"):
        net = SearchNetwork(spec, width=4, cells=3, nodes=1, ops=("none", "skip_connect", "sep_conv_3x3"))
        images, labels = torch.randn(8, 1, 6, 6), torch.randint(0, 3, (8,))
    alphas = net.architecture()
    loss = F.cross_entropy(net(images, softmax_mixing(net)), labels)
    slopes = torch.cat([s.flatten() for s in torch.autograd.grad(loss, alphas, create_graph=True)])
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(slope, alphas, retain_graph=True)]) for slope in slopes]
    dense = float(torch.linalg.eigvalsh(torch.stack(rows).double()).max())
    estimate = dominant_eigenvalue(loss, alphas, generator("start"), iterations=100, tolerance=1e-5)
    assert estimate == pytest.approx(dense, rel=0.01)
