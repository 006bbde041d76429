"""A node of a mixed cell as one autograd function: the weighted sum of all operations on all edges that enter it.

The result is exact, and cheaper than separate operations. The weight of an operation acts as the scale of its batch
norm, so its gradient is a by-product of that of the batch norm, and no weighted output is stored. Of each pair of
convolutions only the output of the 1x1 convolution is stored; the output of the depthwise one is recomputed, and only
for the gradient of a weight. Depthwise gradients are those of space/depthwise.py. Second derivatives use the plain
formula, `plain_node`.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.search.differentiable.network.batch_statistics import normalise, normalise_gradient
from nas_pipeline.search.differentiable.network.chains import Unit
from nas_pipeline.space.depthwise import depthwise_conv2d, depthwise_gradients

_has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch does not annotate it
_MEASURED_CPU = _has_mkldnn and platform.machine() in {"x86_64", "AMD64"}

@dataclass(frozen=True, slots=True)
class NodePlan:
    """The layout of the tensors of a node.

    They are, in order: `sources` rectified maps; one map for each of the `terms` plain terms; the weights of each
    chain. The weights of the sum are [chains + plain terms], chains first.
    """

    sources: int
    chain_sources: tuple[int, ...]
    """For each chain, the index of its source."""
    chains: tuple[tuple[Unit, ...], ...]
    terms: int


def measured_here(tensors: Sequence[Tensor]) -> bool:
    """Returns whether the hand-written kernels apply: dense float tensors on a CPU on which they were measured."""
    first = tensors[0]
    return (
        _MEASURED_CPU
        and all(tensor.device.type == "cpu" and tensor.dtype == first.dtype for tensor in tensors)
        and first.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def fused_node(plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Computes the node, [N, C, H, W], in channels_last.

    Args:
        plan: The layout of `tensors`.
        sum_weights: [chains + plain terms].
        tensors: As `plan` describes them.
    """
    node: Tensor = _Node.apply(plan, sum_weights, *tensors)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return node


def plain_node(plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Computes the same node with the operations of PyTorch, which can be differentiated twice."""
    sources, terms, weights = _split(plan, tensors)
    total: Tensor | None = None
    for number, (chain, source) in enumerate(zip(plan.chains, plan.chain_sources, strict=True)):
        y = sources[source]
        for step, unit in enumerate(chain):
            depthwise, pointwise = weights[number][2 * step:2 * step + 2]
            y = F.relu(y) if step else y
            y = F.conv2d(_depthwise(y, depthwise, unit), pointwise)
            y = F.batch_norm(y, None, None, training=True, eps=unit.eps)
        term = y * sum_weights[number]
        total = term if total is None else total + term
    for number, plain in enumerate(terms, start=len(plan.chains)):
        term = plain * sum_weights[number]
        total = term if total is None else total + term
    assert total is not None
    return total


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: NodePlan, sum_weights: Tensor, *tensors: Tensor) -> Tensor:
        sources, terms, weights = _split(plan, tensors)
        factors = sum_weights.tolist()
        total: Tensor | None = None
        saved: list[Tensor] = []
        for number, chain in enumerate(plan.chains):
            x = sources[plan.chain_sources[number]]
            for step, unit in enumerate(chain):
                depthwise, pointwise = weights[number][2 * step:2 * step + 2]
                y = F.conv2d(_depthwise(x, depthwise, unit), pointwise)
                normal, mean, inverse = normalise(y, unit.eps)
                saved += [x, y, mean, inverse]
                x = normal if step == len(chain) - 1 else normal.relu_()
            total = x.mul_(factors[number]) if total is None else total.add_(x, alpha=factors[number])
        for plain, factor in zip(terms, factors[len(plan.chains):], strict=True):
            total = plain * factor if total is None else total.add_(plain, alpha=factor)
        assert total is not None
        ctx.save_for_backward(sum_weights, *tensors, *saved)
        ctx.plan = plan
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: NodePlan = ctx.plan
        inputs = len(ctx.needs_input_grad) - 1
        sum_weights, *tensors = ctx.saved_tensors[:inputs]
        if torch.is_grad_enabled():
            return None, *_plain_gradients(plan, sum_weights, tensors, grads[0], ctx.needs_input_grad[1:])
        need_sources, need_terms, need_weights = _split(plan, ctx.needs_input_grad[2:])
        _, terms, weights = _split(plan, tensors)
        saved = ctx.saved_tensors[inputs:]
        y_grad = grads[0].contiguous(memory_format=torch.channels_last)
        source_grads: list[Tensor | None] = [None] * plan.sources
        weight_grads: list[Tensor | None] = []
        factor_grads: list[Tensor] = []
        for number, chain in enumerate(plan.chains):
            own, saved = saved[:4 * len(chain)], saved[4 * len(chain):]
            source = plan.chain_sources[number]
            below = _chain_gradients(
                chain, sum_weights[number], weights[number], own, y_grad, need_sources[source], need_weights[number]
            )
            factor_grads.append(below.factor)
            weight_grads += below.weights
            if below.source is not None:
                before = source_grads[source]
                source_grads[source] = below.source if before is None else before.add_(below.source)
        factors = sum_weights.tolist()[len(plan.chains):]
        term_grads = [y_grad * factor if need else None for factor, need in zip(factors, need_terms, strict=True)]
        if ctx.needs_input_grad[1]:
            factor_grads += [_dot(y_grad, plain) for plain in terms]
        total = torch.stack(factor_grads) if ctx.needs_input_grad[1] else None
        return None, total, *source_grads, *term_grads, *weight_grads


@dataclass(frozen=True, slots=True)
class _ChainGradients:
    """Gradients of one chain; None where they are not needed."""

    factor: Tensor
    source: Tensor | None
    weights: list[Tensor | None]


def _chain_gradients(
    chain: tuple[Unit, ...], factor: Tensor, weights: list[Tensor], saved: Sequence[Tensor], y_grad: Tensor,
    need_source: bool, needs: list[bool],
) -> _ChainGradients:
    """Returns the gradients; `saved` has for each unit its input, the output of its 1x1 convolution, and statistics."""
    gradients: list[Tensor | None] = [None] * len(weights)
    factor_grad, map_grad = y_grad.new_zeros(()), None
    for step in range(len(chain) - 1, -1, -1):
        unit, (x, y, mean, inverse) = chain[step], saved[4 * step:4 * step + 4]
        depthwise, pointwise = weights[2 * step:2 * step + 2]
        need_depthwise, need_pointwise = needs[2 * step:2 * step + 2]
        need_x = need_source or any(needs[:2 * step])
        last = step == len(chain) - 1
        slope, scale_grad = normalise_gradient(
            y_grad, y, factor if last else None, mean, inverse, unit.eps,
            need_input=need_x or need_depthwise or need_pointwise,
        )
        if last:
            factor_grad = scale_grad
        if slope is None:
            break
        filtered = _depthwise(x, depthwise, unit) if need_pointwise else y  # only the shape is used where it is y
        filtered_grad, gradients[2 * step + 1], _ = torch.ops.aten.convolution_backward(
            slope, filtered, pointwise, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
            [need_x or need_depthwise, need_pointwise, False],
        )
        if filtered_grad is None:
            break
        map_grad, gradients[2 * step] = depthwise_gradients(
            x, depthwise, filtered_grad, unit.stride, unit.dilation, need_x=need_x, need_weight=need_depthwise
        )
        if map_grad is None:
            break
        if step:
            y_grad = torch.ops.aten.threshold_backward(map_grad, x, 0)
    return _ChainGradients(factor_grad, map_grad if need_source else None, gradients)


def _depthwise(x: Tensor, weight: Tensor, unit: Unit) -> Tensor:
    if unit.stride == 1 and measured_here([x, weight]):
        return depthwise_conv2d(x, weight, 1, unit.dilation)
    padding = unit.dilation * (unit.kernel // 2)
    return F.conv2d(x, weight, None, unit.stride, padding, unit.dilation, groups=x.shape[1])


def _plain_gradients(
    plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor], y_grad: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Returns gradients that can be differentiated again.

    Views are used because an input can depend on another one (a rectified map on the map); the gradient of each must be
    that of this node alone.
    """
    with torch.enable_grad():
        own = [tensor.view_as(tensor) for tensor in (sum_weights, *tensors)]
        wanted = [tensor for tensor, need in zip(own, needed, strict=True) if need]
        gradients = iter(torch.autograd.grad(plain_node(plan, own[0], own[1:]), wanted, y_grad, create_graph=True))
    return [next(gradients) if need else None for need in needed]


def _split(plan: NodePlan, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Returns the sources, the plain terms, and the weights of each chain."""
    sources, rest = _take(list(values), plan.sources)
    terms, rest = _take(rest, plan.terms)
    weights = []
    for chain in plan.chains:
        own, rest = _take(rest, 2 * len(chain))
        weights.append(own)
    return sources, terms, weights


def _take(values: list[Any], count: int) -> tuple[list[Any], list[Any]]:
    return values[:count], values[count:]


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.dot(left.permute(0, 2, 3, 1).reshape(-1), right.permute(0, 2, 3, 1).reshape(-1))
