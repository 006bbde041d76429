import pytest
import torch
from torch import nn

from nas_pipeline.search.differentiable.network.shared_maps import shared_map
from nas_pipeline.space.cell_ops import CellPool, CellSkip


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_a_pool_gives_what_its_module_gives(kind: str, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    pool = CellPool(4, 4, stride, kind=kind).double()
    x = torch.randn(3, 4, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    actual, desired = shared_map(pool, x), pool(x)
    torch.testing.assert_close(actual, desired, rtol=1e-11, atol=1e-12)
    y_grad = torch.randn_like(desired)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, y_grad)[0] for y in (actual, desired)))


def test_an_identity_makes_no_copy() -> None:
    x = torch.randn(1, 4, 3, 3)
    assert shared_map(CellSkip(4, 4), x) is x


def test_a_pool_that_counts_the_padding_is_left_as_it_is() -> None:
    pool = nn.Sequential(nn.AvgPool2d(3, 1, padding=1))
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(shared_map(pool, x), pool(x), rtol=0, atol=0)
