"""The choice of fp32 or bf16 autocast, by a short measurement, once per host and kind of network.

On CPUs with bf16 instructions dense convolutions are up to twice as fast in bf16; depthwise convolutions are slower.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.train.device import DeviceClock
from nas_pipeline.train.recipe import Recipe
from nas_pipeline.train.regularisation import all_logits

logger = logging.getLogger(__name__)

_ROUNDS = 3
_STEPS = 4
_MARGIN = 1.05
"""bf16 is chosen only if it is faster by this factor: fp32 is more exact."""


def kind_of(net: nn.Module) -> str:
    """Returns `depthwise` if any convolution of `net` is depthwise, else `dense`."""
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in net.modules())
    return "depthwise" if depthwise else "dense"


def autocast_dtype(
    net: nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, cache: Path | None
) -> torch.dtype | None:
    """Returns the autocast type to train `net` with; None for fp32.

    Args:
        net: The network; it is not changed.
        images: One normalised batch [N, C, H, W], on the device.
        labels: [N].
        recipe: Its `precision` is used unless it is `auto`.
        cache: JSON file with the measurements so far, by device and kind of network; None to measure each time.
    """
    if recipe.precision != "auto":
        return torch.bfloat16 if recipe.precision == "bf16" else None
    key = f"{_device_name(images.device)}/{kind_of(net)}"
    known = read_json(cache) if cache is not None and cache.exists() else {}
    if key not in known:
        timings: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for _ in range(_ROUNDS):
            for name, dtype in (("fp32", None), ("bf16", torch.bfloat16)):
                timings[name].append(seconds_per_step(net, images, labels, dtype, steps=_STEPS))
        best = {name: min(values) for name, values in timings.items()}
        known[key] = {**best, "choice": "bf16" if best["bf16"] * _MARGIN < best["fp32"] else "fp32"}
        logger.info("precision %s: fp32 %.4f s, bf16 %.4f s per step", key, best["fp32"], best["bf16"])
        if cache is not None:
            write_json(cache, known)
    return torch.bfloat16 if known[key]["choice"] == "bf16" else None


def seconds_per_step(
    net: nn.Module, images: torch.Tensor, labels: torch.Tensor, autocast: torch.dtype | None, *, steps: int
) -> float:
    """Measures the device seconds of one forward and backward pass, on a copy of `net`, after one warm-up pass.

    Args:
        net: The network; it is not changed.
        images: One normalised batch [N, C, H, W], on the device.
        labels: [N].
        autocast: Type of mixed precision; None for fp32.
        steps: Passes that are averaged.
    """
    trial = copy.deepcopy(net).train()
    clock = DeviceClock(images.device)
    for step in range(steps + 1):
        if step == 1:
            clock = DeviceClock(images.device)
        with torch.autocast(images.device.type, autocast, enabled=autocast is not None):
            outputs = all_logits(trial, images)
        trial.zero_grad()
        losses = [F.cross_entropy(logits.float(), labels) for logits in outputs if logits is not None]
        torch.autograd.backward(losses)
    return clock.seconds() / steps


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu-{torch.backends.cpu.get_cpu_capability()}"
