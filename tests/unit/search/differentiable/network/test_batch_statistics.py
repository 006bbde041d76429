import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.search.differentiable.network.batch_statistics import normalise, normalise_gradient

EPS = 1e-5


def maps(channels: int, dtype: torch.dtype = torch.float64, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    y, y_grad = torch.randn(2, 3, channels, 5, 7, dtype=dtype).unbind()
    return (y + shift).to(memory_format=torch.channels_last), y_grad.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("channels", [1, 4, 8, 9, 16])
def test_output_and_gradients_are_those_of_batch_norm(channels: int, scaled: bool) -> None:
    y, y_grad = maps(channels)
    scale = torch.tensor(0.3 if scaled else 1.0, dtype=torch.float64)
    normal, mean, inverse = normalise(y, EPS)
    slope, scale_grad = normalise_gradient(
        y_grad, y, scale if scaled else None, mean, inverse, EPS, need_input=True
    )
    own, factor = y.clone().contiguous().requires_grad_(), scale.clone().requires_grad_()
    expected = F.batch_norm(own, None, None, training=True, eps=EPS)
    slopes = torch.autograd.grad(expected * factor, (own, factor), y_grad)
    torch.testing.assert_close(normal, expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(slope, slopes[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scale_grad, slopes[1], rtol=1e-10, atol=1e-12)
    assert normal.is_contiguous(memory_format=torch.channels_last)
    alone = normalise_gradient(y_grad, y, scale, mean, inverse, EPS, need_input=False)
    assert alone[0] is None
    torch.testing.assert_close(alone[1], scale_grad)


@pytest.mark.parametrize("channels", [4, 16])
def test_a_mean_far_larger_than_the_spread_costs_no_accuracy(channels: int) -> None:
    y, _ = maps(channels, torch.float32, shift=100.0)
    exact, *_ = normalise(y.double(), EPS)
    assert float((normalise(y, EPS)[0] - exact).abs().max()) < 1e-3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_of_pytorch_is_right_with_a_weight_of_its_own_memory(layout: torch.memory_format) -> None:
    """With an expanded weight, torch 2.13 in channels last silently returns a wrong input gradient.

    So a weight made by `expand` is materialised before; this is what must then hold.
    """
    x, y_grad = maps(6)
    scale = torch.tensor(0.3, dtype=torch.float64)

    def x_grad(weight: Tensor, layout: torch.memory_format) -> Tensor:
        own = x.contiguous(memory_format=layout).requires_grad_()
        y = F.batch_norm(own, None, None, weight, None, training=True)
        return torch.autograd.grad(y, own, y_grad.contiguous(memory_format=layout))[0]

    exact = 0.3 * x_grad(torch.ones(6, dtype=torch.float64), torch.contiguous_format)
    torch.testing.assert_close(x_grad(scale.expand(6).contiguous(), layout), exact)
