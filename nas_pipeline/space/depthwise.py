"""Depthwise convolution with an exact backward pass that is as fast on a CPU as its forward pass.

oneDNN has a fast kernel for depthwise gradients only if the dilation is 1 and the kernel is at most three columns
wide. This module splits every other gradient into pieces of that shape. Gradients of that shape, and cases that were
not measured (CUDA, half precision, other CPUs), are left to PyTorch. `benchmarks/depthwise.py` measures both.
"""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FAST_COLUMNS = 3
"""Widest kernel of oneDNN's fast depthwise weight gradient; its height may be any."""

_CHUNK_BYTES = 2 << 20
"""Input bytes per call: they fit into the cache, and bound the copies and the rounding error of long sums."""

_has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has no types here
_MEASURED_CPU = _has_mkldnn and platform.machine() in {"x86_64", "AMD64"}


class DepthwiseConv2d(nn.Conv2d):
    """One k x k filter per channel, "same" padding, no bias.

    [N, C, H, W] -> [N, C, ceil(H / stride), ceil(W / stride)].
    Parameters, state dict and ONNX export are those of `nn.Conv2d`. Gradients of any order are exact in reverse mode;
    forward-mode differentiation needs `eval()`.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, dilation: int = 1) -> None:
        """`kernel_size` must be odd, as "same" padding requires.

        Raises:
            ValueError: `kernel_size` is even.
        """
        if kernel_size % 2 == 0:
            raise ValueError(f"DepthwiseConv2d: kernel_size {kernel_size} is even; it must be odd")
        super().__init__(
            channels, channels, kernel_size, stride=stride, padding=dilation * (kernel_size // 2),
            dilation=dilation, groups=channels, bias=False,
        )
        self._native = native_is_fast(kernel_size, stride, dilation)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input` [N, C, H, W]."""
        if self._native or not self.training or not _applies(input, self.weight):
            return super().forward(input)
        return depthwise_conv2d(input, self.weight, self.stride[0], self.dilation[0])


def native_is_fast(kernel_size: int, stride: int, dilation: int) -> bool:
    """Return whether PyTorch's own gradients are used.

    They are used for small undilated kernels and for strides that do not divide the dilation: in these cases the fast
    kernel was measured to be no faster (undilated) or does not apply.
    """
    return (kernel_size <= _FAST_COLUMNS and dilation == 1) or dilation % stride != 0


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Depthwise convolution with "same" padding and fast gradients; `stride` must divide `dilation`.

    x: [N, C, H, W], weight: [C, 1, k, k].
    """
    if stride > 1:  # the taps read every stride-th pixel only
        x, dilation = x[..., ::stride, ::stride], dilation // stride
    if native_is_fast(weight.shape[-1], 1, dilation):
        return _convolve(x, weight, dilation)
    return _convolution(x, weight, dilation)


def depthwise_gradients(
    x: Tensor, weight: Tensor, y_grad: Tensor, stride: int = 1, dilation: int = 1,
    *, need_x: bool = True, need_weight: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients of x and weight from the gradient of `depthwise_conv2d(x, weight, stride, dilation)`.

    For handwritten backward passes: autograd does not record it. All tensors have the same memory format. A stride
    above 1 uses PyTorch's own kernels.
    """
    if stride == 1:
        x_grad = _convolve(y_grad, weight.flip(2, 3), dilation) if need_x else None
        return x_grad, _correlate(x, y_grad, weight.shape[-1], dilation) if need_weight else None
    padding = dilation * (weight.shape[-1] // 2)
    both: tuple[Tensor | None, Tensor | None, None] = torch.ops.aten.convolution_backward(
        y_grad, x, weight, None, [stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], x.shape[1],
        [need_x, need_weight, False],
    )
    return both[0], both[1]


class _Convolution(torch.autograd.Function):
    """(x, weight) -> y at stride 1. Its gradients are itself and `_WeightGradient`, so every order is fast."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        return _convolve(x, weight, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, weight, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, _ = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            y_grad = _in_layout_of(x, grads[0])
            x_grad = _convolution(y_grad, weight.flip(2, 3), ctx.dilation) if need_x else None
            w_grad = _weight_gradient(x, y_grad, weight.shape[-1], ctx.dilation) if need_weight else None
        return x_grad, w_grad, None


class _WeightGradient(torch.autograd.Function):
    """(x, gradient of y) -> gradient of the weight. Linear in both, and its gradients are convolutions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y_grad: Tensor, kernel_size: int, dilation: int) -> Tensor:
        return _correlate(x, y_grad, kernel_size, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
        x, y_grad, _, ctx.dilation = inputs
        ctx.save_for_backward(x, y_grad)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, y_grad = ctx.saved_tensors
        need_x, need_y_grad, _, _ = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            x_grad = _convolution(y_grad, grads[0].flip(2, 3), ctx.dilation) if need_x else None
            y_grad_grad = _convolution(x, grads[0], ctx.dilation) if need_y_grad else None
        return x_grad, y_grad_grad, None, None


def _convolution(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    if not torch.is_grad_enabled():  # the backward of a plain training step: nothing to record
        return _convolve(x, weight, dilation)
    result: Tensor = _Convolution.apply(x, weight, dilation)  # type: ignore[no-untyped-call]  # torch's function has no types
    return result


def _weight_gradient(x: Tensor, y_grad: Tensor, kernel_size: int, dilation: int) -> Tensor:
    if not torch.is_grad_enabled():
        return _correlate(x, y_grad, kernel_size, dilation)
    result: Tensor = _WeightGradient.apply(x, y_grad, kernel_size, dilation)  # type: ignore[no-untyped-call]  # torch's function has no types
    return result


def _correlate(x: Tensor, y_grad: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """dW[c, 0, u, v] = sum over n, i, j of x[n, c, i + (u - r) dilation, j + (v - r) dilation] y_grad[n, c, i, j].

    Images are processed in chunks after dilation was removed by folding.
    """
    images, channels = x.shape[:2]
    per_call = max(1, _CHUNK_BYTES * images // (x.numel() * x.element_size()))
    parts = [
        _correlate_in_strips(_fold(x_part, dilation), _fold(y_part, dilation), kernel_size)
        for x_part, y_part in zip(torch.split(x, per_call), torch.split(y_grad, per_call), strict=True)
    ]
    total = functools.reduce(torch.add, parts)
    return total if dilation == 1 else total.view(dilation, channels, 1, kernel_size, kernel_size).sum(0)


def _correlate_in_strips(x: Tensor, y_grad: Tensor, kernel_size: int) -> Tensor:
    """The same for dilation 1, with the kernel cut into strips of at most `_FAST_COLUMNS` columns."""
    radius = kernel_size // 2
    if kernel_size <= _FAST_COLUMNS:
        return _native_weight_gradient(x, y_grad, kernel_size, kernel_size, padding=radius)
    strips = []
    for first in range(0, kernel_size, _FAST_COLUMNS):
        columns = min(_FAST_COLUMNS, kernel_size - first)
        if max(first - radius, radius - first - columns + 1) >= x.shape[3]:  # these columns read padding only
            strips.append(x.new_zeros(x.shape[1], 1, kernel_size, columns))
            continue
        # Explicit padding: oneDNN uses a slow kernel for maps smaller than the filter.
        padded = F.pad(x, (radius - first, first + columns - 1 - radius, radius, radius))
        strips.append(_native_weight_gradient(padded, y_grad, kernel_size, columns, padding=0))
    return torch.cat(strips, dim=3)


def _fold(t: Tensor, dilation: int) -> Tensor:
    """Return a channels-last `t` in which a dilated convolution is an undilated one, as taps read pixels of one phase.

    Row phases become images and column phases become channels:
    [N, C, H, W] -> [N dilation, dilation C, ceil(H / dilation), ceil(W / dilation)].
    """
    if dilation == 1:
        return t.contiguous(memory_format=torch.channels_last)
    rows, columns = -t.shape[2] % dilation, -t.shape[3] % dilation
    if rows or columns:
        t = F.pad(t, (0, columns, 0, rows))
    images, channels, height, width = t.shape
    phases = t.permute(0, 2, 3, 1).reshape(images, height // dilation, dilation, width * channels).transpose(1, 2)
    folded = phases.reshape(images * dilation, height // dilation, width // dilation, dilation * channels)
    return folded.permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation, groups=weight.shape[0])


def _native_weight_gradient(x: Tensor, y_grad: Tensor, rows: int, columns: int, padding: int) -> Tensor:
    weight = x.new_empty(x.shape[1], 1, rows, columns)  # only its shape is read
    gradient: Tensor = torch.ops.aten.convolution_backward(
        y_grad, x, weight, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], x.shape[1], [False, True, False]
    )[1]
    return gradient


def _in_layout_of(x: Tensor, t: Tensor) -> Tensor:
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return t.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _applies(x: Tensor, weight: Tensor) -> bool:
    """Whether the gradients of this module apply to this call and were measured for it."""
    return (
        _MEASURED_CPU
        and torch.is_grad_enabled()
        and x.dim() == 4
        and x.numel() > 0
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
