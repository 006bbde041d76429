"""Time of forward and backward of a depthwise convolution: gradients of PyTorch and of DepthwiseConv2d.

    export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296
    export GLIBC_TUNABLES=$GLIBC_TUNABLES:glibc.malloc.trim_threshold=8589934592
    python benchmarks/depthwise.py [--rounds 15]

One process, one thread, CPU milliseconds, batch 64, both implementations interleaved. "spread" is (p90 - p10) / median
of the ratios of neighbouring runs. The ratio is more reliable than the milliseconds. "left to PyTorch": both run the
same code. Without the two environment variables, page faults of new memory add noise to small shapes; the heading
states whether they are set.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from nas_pipeline.space.depthwise import DepthwiseConv2d, native_is_fast

BATCH = 64
SHAPES = (  # channels, height = width, kernel, stride, dilation
    (16, 32, 3, 1, 1),
    (16, 32, 5, 1, 1),
    (16, 32, 7, 1, 1),
    (16, 32, 3, 1, 2),
    (16, 32, 5, 1, 2),
    (16, 32, 5, 2, 1),
    (16, 32, 3, 2, 2),
    (16, 32, 5, 2, 2),
    (24, 14, 5, 1, 1),
    (36, 7, 5, 1, 1),
    (64, 8, 5, 1, 1),
    (64, 8, 3, 1, 2),
    (64, 8, 5, 1, 2),
    (96, 32, 5, 1, 1),
    (96, 32, 5, 1, 2),
)


def main() -> None:
    """Print the machine, the versions and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{cpu_model()} | torch {torch.__version__} | {torch.backends.cpu.get_cpu_capability()} | Python "
          f"{platform.python_version()} | batch {BATCH}, fp32, one thread, n = {rounds} interleaved rounds | "
          f"GLIBC_TUNABLES {'set' if os.environ.get('GLIBC_TUNABLES') else 'not set'}")
    for layout, name in ((torch.channels_last, "channels_last"), (torch.contiguous_format, "NCHW")):
        print(f"\n{name}\n| channels, size, kernel, stride, dilation | PyTorch ms | ours ms | ratio | spread |")
        print("|---|---|---|---|---|")
        for shape in SHAPES:
            print(row(*shape, layout=layout, rounds=rounds), flush=True)


def row(channels: int, size: int, kernel: int, stride: int, dilation: int, layout: torch.memory_format,
        rounds: int) -> str:
    """Measure one shape and return its line of the table."""
    torch.manual_seed(0)
    ours = DepthwiseConv2d(channels, kernel, stride, dilation)
    padding = dilation * (kernel // 2)
    native = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    native.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, channels, size, size).to(memory_format=layout).requires_grad_()
    y_grad = torch.randn_like(native(x))
    a, b = interleaved(lambda: step(native, x, y_grad), lambda: step(ours, x, y_grad), rounds)
    ratios = [native_s / ours_s for native_s, ours_s in zip(a, b, strict=True)]
    low, *_, high = statistics.quantiles(ratios, n=10)
    ratio = statistics.median(ratios)
    note = " (left to PyTorch)" if native_is_fast(kernel, stride, dilation) else ""
    return (f"| {channels}, {size}, {kernel}, {stride}, {dilation}{note} | {statistics.median(a) * 1000:.1f} | "
            f"{statistics.median(b) * 1000:.1f} | {ratio:.2f} | {(high - low) / ratio:.0%} |")


def step(layer: nn.Module, x: Tensor, y_grad: Tensor) -> None:
    """Run forward and backward once."""
    torch.autograd.grad(layer(x), (x, *layer.parameters()), y_grad)


def interleaved(a: Callable[[], None], b: Callable[[], None], rounds: int) -> tuple[list[float], list[float]]:
    """CPU seconds of `a` and `b`, run alternately after two warm-up rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for run, durations in zip((a, b), times, strict=True):
            start = time.thread_time()
            run()
            if number >= 2:
                durations.append(time.thread_time() - start)
    return times


def cpu_model() -> str:
    """Return the name of the CPU, if the system provides it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
