"""A node of a mixed cell as one step of autograd: the weighted sum of all operations on all edges that enter it.

Exact, and cheaper than its parts: each 1x1 convolution, its batch norm and the weight of its operation are one
convolution (folded_norm.py); the outputs of operations are never made, so the gradient of a weight comes from small
matrices; what a depthwise convolution gives is made again in the backward pass, which costs less than to keep it. A
second derivative goes through the plain formula, `plain_node`.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_pipeline.search.differentiable.chains import Unit
from nas_pipeline.search.differentiable.folded_norm import (
    Folded,
    apply,
    fold,
    fold_gradient,
    outer,
    pixel_sum,
)
from nas_pipeline.space.depthwise import depthwise_conv2d, depthwise_gradients

_MEASURED_CPU = torch.backends.mkldnn.is_available() and platform.machine() in {"x86_64", "AMD64"}  # type: ignore[no-untyped-call]

_GROUP_BYTES = 16 << 20
"""Chains are taken together up to this size of their maps: large maps one by one while they are in the cache, small
ones many at once, for there the small matrices are what costs."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What the tensors of a node are, in this order.

    `sources` rectified maps; one map for each plain term; for each chain its weights. The weights of the sum are
    [chains + plain terms], chains first.
    """

    sources: int
    chain_sources: tuple[int, ...]
    """For each chain the number of its source."""
    chains: tuple[tuple[Unit, ...], ...]
    terms: int


def measured_here(tensors: Sequence[Tensor]) -> bool:
    """Whether these are tensors for which the hand-written forms were made and measured; others take PyTorch's."""
    first = tensors[0]
    return (
        _MEASURED_CPU
        and all(tensor.device.type == "cpu" and tensor.dtype == first.dtype for tensor in tensors)
        and first.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def fused_node(plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The node, [N, C, H, W], channels last."""
    node: Tensor = _Node.apply(plan, sum_weights, *tensors)  # type: ignore[no-untyped-call]
    return node


def plain_node(plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The same by PyTorch's own operations."""
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
        groups = _groups(plan, sources, _split(plan, ctx.needs_input_grad[2:]))
        total: Tensor | None = None
        kept: list[Tensor] = []
        folds: list[list[Folded]] = []
        bias: Tensor | None = None
        for group in groups:
            maps = [sources[plan.chain_sources[chain]] for chain in group]
            units = plan.chains[group[0]]
            folds.append([])
            for step, unit in enumerate(units):
                last = step == len(units) - 1
                filtered = _filter(plan, weights, group, step, maps)
                pointwise = [weights[chain][2 * step + 1] for chain in group]
                folded = fold(filtered, pointwise, sum_weights[group] if last else None, unit.eps)
                folds[-1].append(folded)
                if not last:
                    maps = [
                        apply(d, weight, bias).relu_()
                        for d, weight, bias in zip(filtered, folded.weight, folded.bias, strict=True)
                    ]
                    kept += maps
                    continue
                shift = folded.bias.sum(0)
                bias = shift if bias is None else bias + shift
                for d, weight in zip(filtered, folded.weight, strict=True):
                    y = apply(d, weight)
                    total = y if total is None else total.add_(y)
        for plain, factor in zip(terms, sum_weights[len(plan.chains):].tolist(), strict=True):
            total = plain * factor if total is None else total.add_(plain, alpha=factor)
        assert total is not None
        if bias is not None:
            total.add_(bias[:, None, None])
        ctx.save_for_backward(sum_weights, *tensors, *kept)
        ctx.plan, ctx.groups, ctx.folds = plan, groups, folds
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: NodePlan = ctx.plan
        inputs = len(ctx.needs_input_grad) - 1
        sum_weights, *tensors = ctx.saved_tensors[:inputs]
        if torch.is_grad_enabled():
            return None, *_plain_gradients(plan, sum_weights, tensors, grads[0], ctx.needs_input_grad[1:])
        needs = _split(plan, ctx.needs_input_grad[2:])
        sources, terms, weights = _split(plan, tensors)
        kept = list(ctx.saved_tensors[inputs:])
        y_grad = grads[0].contiguous(memory_format=torch.channels_last)
        pixels = pixel_sum(y_grad)
        source_grads: list[Tensor | None] = [None] * len(sources)
        weight_grads: list[list[Tensor | None]] = [[None] * len(own) for own in weights]
        factor_grads = sum_weights.new_zeros(len(sum_weights))
        for group, folds in zip(ctx.groups, ctx.folds, strict=True):
            inner, kept = _take(kept, (len(folds) - 1) * len(group))
            y_grads = [y_grad] * len(group)
            for step in range(len(folds) - 1, -1, -1):
                last = step == len(folds) - 1
                maps = (
                    inner[(step - 1) * len(group):step * len(group)] if step
                    else [sources[plan.chain_sources[chain]] for chain in group]
                )
                filtered = _filter(plan, weights, group, step, maps)
                products = torch.stack([outer(g, d) for g, d in zip(y_grads, filtered, strict=True)])
                sums = pixels.expand(len(group), -1) if last else torch.stack([pixel_sum(g) for g in y_grads])
                found = fold_gradient(folds[step], products, sums)
                if last:
                    factor_grads[group] = found.scale
                below = []
                for position, chain in enumerate(group):
                    need_depthwise, need_pointwise = needs[2][chain][2 * step:2 * step + 2]
                    need_source = needs[0][plan.chain_sources[chain]]
                    need_map = need_source or (step > 0 and any(needs[2][chain][:2 * step]))
                    if need_pointwise:
                        weight_grads[chain][2 * step + 1] = found.pointwise[position][:, :, None, None]
                    if not (need_map or need_depthwise):
                        continue
                    d_grad = apply(filtered[position], found.slope[position], found.offset[position])
                    d_grad.add_(apply(y_grads[position], found.back[position]))
                    unit = plan.chains[chain][step]
                    map_grad, weight_grads[chain][2 * step] = depthwise_gradients(
                        maps[position], weights[chain][2 * step], d_grad, unit.stride, unit.dilation,
                        need_x=need_map, need_weight=need_depthwise,
                    )
                    if map_grad is None:
                        continue
                    if step:
                        below.append(torch.ops.aten.threshold_backward(map_grad, maps[position], 0))
                    else:
                        source = plan.chain_sources[chain]
                        before = source_grads[source]
                        source_grads[source] = map_grad if before is None else before.add_(map_grad)
                if not below:
                    break
                y_grads = below
        factors = sum_weights.tolist()[len(plan.chains):]
        term_grads = [y_grad * factor if need else None for factor, need in zip(factors, needs[1], strict=True)]
        if ctx.needs_input_grad[1]:
            for number, plain in enumerate(terms, start=len(plan.chains)):
                factor_grads[number] = _dot(y_grad, plain)
        flat = [grad for own in weight_grads for grad in own]
        return None, factor_grads, *source_grads, *term_grads, *flat


def _filter(
    plan: NodePlan, weights: Sequence[Sequence[Tensor]], group: list[int], step: int, maps: list[Tensor]
) -> list[Tensor]:
    """The depthwise convolutions of a group."""
    return [
        _depthwise(x, weights[chain][2 * step], plan.chains[chain][step]) for chain, x in zip(group, maps, strict=True)
    ]


def _depthwise(x: Tensor, weight: Tensor, unit: Unit) -> Tensor:
    if unit.stride == 1 and measured_here([x, weight]):
        return depthwise_conv2d(x, weight, 1, unit.dilation)
    padding = unit.dilation * (unit.kernel // 2)
    return F.conv2d(x, weight, None, unit.stride, padding, unit.dilation, groups=x.shape[1])


def _plain_gradients(
    plan: NodePlan, sum_weights: Tensor, tensors: Sequence[Tensor], y_grad: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients that can be differentiated again.

    Through views, for one input may have been made of another (a rectified map and the map): the gradient of each is
    that of this node alone.
    """
    with torch.enable_grad():
        own = [tensor.view_as(tensor) for tensor in (sum_weights, *tensors)]
        wanted = [tensor for tensor, need in zip(own, needed, strict=True) if need]
        found = iter(torch.autograd.grad(plain_node(plan, own[0], own[1:]), wanted, y_grad, create_graph=True))
    return [next(found) if need else None for need in needed]


def _split(plan: NodePlan, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Sources, plain terms, and the weights of each chain."""
    sources, rest = _take(list(values), plan.sources)
    terms, rest = _take(rest, plan.terms)
    weights = []
    for chain in plan.chains:
        own, rest = _take(rest, 2 * len(chain))
        weights.append(own)
    return sources, terms, weights


def _take(values: list[Any], count: int) -> tuple[list[Any], list[Any]]:
    return values[:count], values[count:]


def _groups(
    plan: NodePlan, sources: Sequence[Tensor], needs: tuple[list[Any], list[Any], list[Any]]
) -> list[list[int]]:
    """Chains of one shape that need the same gradients, as many at once as fit."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for number, (chain, source) in enumerate(zip(plan.chains, plan.chain_sources, strict=True)):
        key = (tuple(unit.eps for unit in chain), needs[0][source], tuple(needs[2][number]))
        alike.setdefault(key, []).append(number)
    groups = []
    for numbers in alike.values():
        largest, stride = sources[plan.chain_sources[numbers[0]]], plan.chains[numbers[0]][0].stride
        size = max(1, _GROUP_BYTES * stride ** 2 // (largest.numel() * largest.element_size()))
        groups += [numbers[first:first + size] for first in range(0, len(numbers), size)]
    return groups


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.dot(left.permute(0, 2, 3, 1).reshape(-1), right.permute(0, 2, 3, 1).reshape(-1))
