"""One side of the comparison, in its own process: it takes a step per line of input and prints the cost."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.darts_step.reference import Reference, copy_weights
from nas_pipeline.core.records import InputSpec
from nas_pipeline.search.differentiable.network.mixing import (
    KINDS,
    Mixing,
    gumbel_mixing,
    partial_mixing,
    softmax_mixing,
)
from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

SPEC = InputSpec(3, 32, 32, 10)
PARTIAL = 4


def main() -> None:
    """Takes steps until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = SIDES[arguments.side](arguments.batch)
    before = resident_bytes()
    for _ in sys.stdin:
        started = time.process_time()
        step()
        cost = time.process_time() - started
        print(json.dumps({"cpu_s": cost, "peak_bytes": peak_bytes(), "before_bytes": before}), flush=True)


def data(batch: int) -> list[tuple[Tensor, Tensor]]:
    """Returns a batch for the weights and one for the alphas."""
    return [(torch.randn(batch, SPEC.channels, SPEC.height, SPEC.width), torch.randint(SPEC.classes, (batch,)))
            for _ in range(2)]


def optimisers(net: SearchNetwork, weights: list[torch.nn.Parameter]) -> tuple[torch.optim.SGD, torch.optim.Adam]:
    """Returns the optimisers of the paper, section 3.1."""
    return (
        torch.optim.SGD(weights, 0.025, momentum=0.9, weight_decay=3e-4),
        torch.optim.Adam(net.architecture(), 3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
    )


def reference(batch: int) -> Callable[[], None]:
    """Both passes compute all gradients, as an implementation with one `loss.backward()` does."""
    search_net, net = SearchNetwork(SPEC), Reference()
    copy_weights(search_net.weights(), list(net.parameters()))
    weight_step, alpha_step = optimisers(search_net, list(net.parameters()))

    def step() -> None:
        for (x, y), optimiser in zip(data(batch), (weight_step, alpha_step), strict=True):
            weight_step.zero_grad()
            alpha_step.zero_grad()
            mixing = {kind: F.softmax(search_net.alphas[kind], dim=1) for kind in KINDS}
            F.cross_entropy(net(x, mixing), y).backward()
            optimiser.step()

    return step


def own(batch: int, net: SearchNetwork, mixing_of: Callable[[SearchNetwork], Mixing]) -> Callable[[], None]:
    """Each pass computes only the gradients that it needs."""
    weights = net.weights()
    weight_step, alpha_step = optimisers(net, weights)

    def step() -> None:
        (x, y), (x_val, y_val) = data(batch)
        with torch.no_grad():
            mixing = mixing_of(net)
        slopes = torch.autograd.grad(F.cross_entropy(net(x, mixing), y), weights, allow_unused=True)
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope
        weight_step.step()
        weight_step.zero_grad()
        for weight in weights:
            weight.requires_grad_(False)
        F.cross_entropy(net(x_val, mixing_of(net)), y_val).backward()
        for weight in weights:
            weight.requires_grad_(True)
        alpha_step.step()
        alpha_step.zero_grad()

    return step


def darts(batch: int) -> Callable[[], None]:
    """All operations on all edges."""
    return own(batch, SearchNetwork(SPEC), softmax_mixing)


def gdas(batch: int) -> Callable[[], None]:
    """One sampled operation on each edge, sampled for each pass."""
    generator = torch.Generator().manual_seed(0)
    return own(batch, SearchNetwork(SPEC), lambda net: gumbel_mixing(net, 5.0, generator))


def pc_darts(batch: int) -> Callable[[], None]:
    """A quarter of the channels passes through the operations."""
    return own(batch, SearchNetwork(SPEC, partial=PARTIAL), partial_mixing)


def peak_bytes() -> int:
    """Returns the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """Returns the current resident size of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


SIDES: dict[str, Callable[[int], Callable[[], None]]] = {
    "reference": reference, "darts": darts, "pc_darts": pc_darts, "gdas": gdas,
}

if __name__ == "__main__":
    main()
