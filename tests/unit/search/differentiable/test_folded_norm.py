from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.search.differentiable.folded_norm import apply, fold, fold_gradient, outer, pixel_sum

EPS = 1e-5


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def units(dtype: torch.dtype, shift: float = 0.0) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Inputs, 1x1 weights and scales of three units."""
    inputs = [
        (torch.randn(4, 6, 5, 7, dtype=dtype) + shift).to(memory_format=torch.channels_last) for _ in range(3)
    ]
    return inputs, [torch.randn(6, 6, 1, 1, dtype=dtype) for _ in range(3)], torch.randn(3, dtype=dtype)


def straightforward(d: Tensor, pointwise: Tensor, scale: Tensor | float) -> Tensor:
    return scale * F.batch_norm(F.conv2d(d, pointwise), None, None, training=True, eps=EPS)


@pytest.mark.parametrize("scaled", [False, True])
def test_one_convolution_gives_what_convolution_and_batch_norm_give(scaled: bool) -> None:
    inputs, pointwise, scale = units(torch.float64)
    folded = fold(inputs, pointwise, scale if scaled else None, EPS)
    for number, (d, w) in enumerate(zip(inputs, pointwise, strict=True)):
        y = apply(d, folded.weight[number], folded.bias[number])
        torch.testing.assert_close(y, straightforward(d, w, scale[number] if scaled else 1.0), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_gradient_by_hand_is_that_of_autograd(scaled: bool) -> None:
    inputs, pointwise, scale = units(torch.float64)
    folded = fold(inputs, pointwise, scale if scaled else None, EPS)
    y_grads = [torch.randn_like(d) for d in inputs]
    found = fold_gradient(
        folded, torch.stack([outer(g, d) for g, d in zip(y_grads, inputs, strict=True)]),
        torch.stack([pixel_sum(g) for g in y_grads]),
    )
    for number, (d, w, g) in enumerate(zip(inputs, pointwise, y_grads, strict=True)):
        parts = [d.clone().requires_grad_(), w.clone().requires_grad_(), scale[number].clone().requires_grad_()]
        y = straightforward(parts[0], parts[1], parts[2] if scaled else 1.0)
        theirs = torch.autograd.grad(y, parts, g, allow_unused=True)
        d_grad = apply(d, found.slope[number], found.offset[number]) + apply(g, found.back[number])
        torch.testing.assert_close(d_grad, theirs[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.pointwise[number], theirs[1][:, :, 0, 0], rtol=1e-10, atol=1e-11)
        if scaled:
            torch.testing.assert_close(found.scale[number], theirs[2], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_single_precision_holds_even_where_the_mean_is_far_larger_than_the_spread(shift: float) -> None:
    inputs, pointwise, _ = units(torch.float32, shift)
    folded = fold(inputs, pointwise, None, EPS)
    for number, (d, w) in enumerate(zip(inputs, pointwise, strict=True)):
        exact = straightforward(d.double(), w.double(), 1.0)
        y = apply(d, folded.weight[number], folded.bias[number]).double()
        assert float((y - exact).norm() / exact.norm()) < 1e-3


def test_a_map_without_variance_gives_zeros_not_noise() -> None:
    d = torch.full((2, 3, 4, 4), 0.7).to(memory_format=torch.channels_last)
    folded = fold([d], [torch.randn(3, 3, 1, 1)], None, EPS)
    assert float(apply(d, folded.weight[0], folded.bias[0]).abs().max()) < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_over_pixels(dtype: torch.dtype) -> None:
    left, right = torch.randn(3, 5, 4, 6, dtype=dtype), torch.randn(3, 2, 4, 6, dtype=dtype)
    torch.testing.assert_close(outer(left, right), torch.einsum("nahw,nbhw->ab", left, right))
    torch.testing.assert_close(pixel_sum(left), left.sum((0, 2, 3)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_of_pytorch_is_right_only_with_a_weight_of_its_own_memory(layout: torch.memory_format) -> None:
    """With an expanded weight, torch 2.13 in channels last returns a wrong input gradient and does not say so.

    So a weight made by `expand` must be materialised before `F.batch_norm`; this is what must then hold.
    """
    x = torch.randn(4, 6, 5, 5, dtype=torch.float64)
    y_grad, scale = torch.randn_like(x), torch.tensor(0.3, dtype=torch.float64)

    def x_grad(weight: Tensor, layout: torch.memory_format) -> Tensor:
        own = x.to(memory_format=layout).requires_grad_()
        y = F.batch_norm(own, None, None, weight, None, training=True)
        return torch.autograd.grad(y, own, y_grad.to(memory_format=layout))[0]

    exact = 0.3 * x_grad(torch.ones(6, dtype=torch.float64), torch.contiguous_format)
    torch.testing.assert_close(x_grad(scale.expand(6).contiguous(), layout), exact)
