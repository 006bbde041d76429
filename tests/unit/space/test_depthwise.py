import io
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from nas_pipeline.space import depthwise
from nas_pipeline.space.depthwise import DepthwiseConv2d, depthwise_conv2d, depthwise_gradients, native_is_fast

# kernel, stride, dilation
OWN = [(5, 1, 1), (7, 1, 1), (3, 1, 2), (5, 1, 2), (3, 1, 3), (3, 2, 2), (5, 2, 2), (5, 2, 4)]
LEFT_TO_PYTORCH = [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 2, 1), (7, 2, 1), (3, 2, 3)]
LAYOUTS = [torch.channels_last, torch.contiguous_format]


@pytest.fixture(autouse=True)
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(depthwise, "_MEASURED_CPU", True)  # the formulas must hold on every machine
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def twins(channels: int, kernel: int, stride: int, dilation: int) -> tuple[DepthwiseConv2d, nn.Conv2d]:
    own = DepthwiseConv2d(channels, kernel, stride, dilation)
    native = nn.Conv2d(channels, channels, kernel, stride, own.padding, dilation, groups=channels, bias=False)
    native.load_state_dict(own.state_dict())
    return own, native


def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape).cos()
    x_grad, w_grad = torch.autograd.grad((y * weights).sum(), (x, *layer.parameters()))
    return y.detach(), x_grad, w_grad


def uses_own_gradient(y: Tensor) -> bool:
    return type(y.grad_fn).__name__ == "_ConvolutionBackward"


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), OWN + LEFT_TO_PYTORCH)
def test_same_output_and_gradients_as_pytorch(
    kernel: int, stride: int, dilation: int, layout: torch.memory_format
) -> None:
    for channels, height, width in ((16, 16, 16), (5, 9, 7), (3, 2, 3), (1, 8, 5)):
        own, native = twins(channels, kernel, stride, dilation)
        x = torch.randn(4, channels, height, width).to(memory_format=layout)
        for mine, theirs in zip(gradients(own, x), gradients(native, x), strict=True):
            assert mine.shape == theirs.shape
            assert relative_error(mine, theirs) < 1e-5


@pytest.mark.parametrize(("kernel", "stride", "dilation"), OWN + LEFT_TO_PYTORCH)
def test_gradients_for_a_backward_pass_written_by_hand(kernel: int, stride: int, dilation: int) -> None:
    _, native = twins(5, kernel, stride, dilation)
    x = torch.randn(3, 5, 9, 7).to(memory_format=torch.channels_last).requires_grad_()
    y = native(x)
    y_grad = torch.randn_like(y)
    theirs = torch.autograd.grad(y, (x, native.weight), y_grad)
    with torch.no_grad():
        mine = depthwise_gradients(x, native.weight, y_grad, stride, dilation)
        neither = depthwise_gradients(x, native.weight, y_grad, stride, dilation, need_x=False, need_weight=False)
    for a, b in zip(mine, theirs, strict=True):
        assert a is not None
        assert relative_error(a, b) < 1e-5
    assert neither == (None, None)


def test_chunks_of_a_batch_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    own, native = twins(8, 5, 1, 1)
    x = torch.randn(7, 8, 6, 6)
    monkeypatch.setattr(depthwise, "_CHUNK_BYTES", 3 * 8 * 6 * 6 * 4)
    for mine, theirs in zip(gradients(own, x), gradients(native, x), strict=True):
        assert relative_error(mine, theirs) < 1e-5


@pytest.mark.parametrize(("kernel", "stride", "dilation"), OWN)
def test_first_and_second_order_against_finite_differences(kernel: int, stride: int, dilation: int) -> None:
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(2, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    arguments = (x, weight, stride, dilation)
    assert gradcheck(depthwise_conv2d, arguments, fast_mode=True)
    assert gradgradcheck(depthwise_conv2d, arguments, fast_mode=True)


def test_every_entry_of_the_jacobians() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(depthwise_conv2d, (x, weight, 1, 2))
    assert gradgradcheck(depthwise_conv2d, (x, weight, 1, 2))


def test_hessian_vector_product_equals_that_of_pytorch() -> None:
    own, native = (layer.double() for layer in twins(4, 5, 1, 2))
    x, direction = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(4, 1, 5, 5, dtype=torch.float64)

    def product(layer: nn.Conv2d) -> tuple[Tensor, ...]:
        loss = layer(F.relu(layer(x))).square().mean()
        (gradient,) = torch.autograd.grad(loss, layer.weight, create_graph=True)
        (second,) = torch.autograd.grad((gradient * direction).sum(), layer.weight, create_graph=True)
        return second.detach(), torch.autograd.grad(second.square().sum(), layer.weight)[0]  # and the third order

    for mine, theirs in zip(product(own), product(native), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_per_image_gradients_through_vmap() -> None:
    layer, x = DepthwiseConv2d(4, 5, dilation=2), torch.randn(3, 4, 6, 6)
    weights = {"weight": layer.weight.detach()}

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, weights, (image[None],))
        return y.square().sum()

    per_image = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)["weight"]
    for image, gradient in zip(x, per_image, strict=True):
        expected = torch.autograd.grad(layer(image[None]).square().sum(), layer.weight)[0]
        torch.testing.assert_close(gradient, expected)


def test_the_rule() -> None:
    assert not any(native_is_fast(*row) for row in OWN)
    assert all(native_is_fast(*row) for row in LEFT_TO_PYTORCH)


def test_own_gradients_only_where_they_were_measured() -> None:
    layer, x = DepthwiseConv2d(4, 5), torch.randn(2, 4, 6, 6)
    assert uses_own_gradient(layer(x))
    assert uses_own_gradient(layer.double()(x.double()))
    assert not uses_own_gradient(layer.to(torch.bfloat16)(x.bfloat16()))
    layer.float()
    assert not uses_own_gradient(layer(x[0]))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert not uses_own_gradient(y)
    with torch.no_grad():
        assert layer(x).grad_fn is None
    assert layer.to("meta")(x.to("meta")).shape == x.shape
    assert not uses_own_gradient(DepthwiseConv2d(4, 5).eval()(x))
    assert not uses_own_gradient(DepthwiseConv2d(4, 3)(x))


def test_backward_under_autocast_stays_exact() -> None:
    own, native = twins(4, 5, 1, 1)
    x = torch.randn(2, 4, 6, 6)
    expected = torch.autograd.grad(native(x).square().sum(), native.weight)[0]
    loss = own(x).square().sum()
    with torch.autocast("cpu", torch.bfloat16):
        (mine,) = torch.autograd.grad(loss, own.weight)
    assert relative_error(mine, expected) < 1e-5


def test_an_input_or_a_weight_without_gradient_costs_and_gets_none() -> None:
    own, native = twins(4, 5, 1, 1)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    own.weight.requires_grad_(False)
    own(x).sum().backward()
    assert own.weight.grad is None
    assert x.grad is not None
    assert relative_error(x.grad, torch.autograd.grad(native(x).sum(), x)[0]) < 1e-5


def test_gradients_keep_the_memory_layout() -> None:
    layer = DepthwiseConv2d(4, 5)
    for layout in LAYOUTS:
        _, x_grad, _ = gradients(layer, torch.randn(2, 4, 6, 6).to(memory_format=layout))
        assert x_grad.is_contiguous(memory_format=layout)


def test_state_dict_is_that_of_a_plain_convolution() -> None:
    own, native = twins(6, 5, 2, 2)
    assert list(own.state_dict()) == list(native.state_dict()) == ["weight"]
    assert own.weight.shape == native.weight.shape


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size 4 is even"):
        DepthwiseConv2d(3, 4)


def test_exports_as_one_ordinary_convolution() -> None:
    onnx_file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            DepthwiseConv2d(4, 5, dilation=2).eval(), (torch.randn(1, 4, 8, 8),), dynamo=True, verbose=False
        )
        assert program is not None
        program.save(onnx_file)
    assert [node.op_type for node in program.model.graph] == ["Conv"]
    assert onnx_file.tell() > 0
