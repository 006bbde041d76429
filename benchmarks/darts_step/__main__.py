"""CPU-seconds and peak memory of a first-order DARTS step: a straightforward implementation against this package.

    python -m benchmarks.darts_step [--batch 64] [--rounds 7] [--allocator workers|system]

One step: a weight pass and an alpha pass, with their optimisers. 16 channels, 8 cells, 4 nodes, 8 operations, images
3x32x32, fp32, one thread. Each side runs in its own process and the sides take turns, so other load slows all of them
alike; compare the ratios. "spread" is (largest - smallest) / median of the rounds. The first round of each side, which
allocates memory, is not counted. Peak: largest resident size, less the size before the first step. "workers": the
allocator settings of the training processes of the pipeline (nas_pipeline/train/workers.py), for all sides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

WORKERS = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
TITLES = {
    "reference": "straightforward DARTS", "darts": "this package, DARTS", "pc_darts": "this package, PC-DARTS (1/4)",
    "gdas": "this package, GDAS",
}


def main() -> None:
    """Prints the machine, the versions and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--allocator", choices=["workers", "system"], default="workers")
    parser.add_argument("--sides", nargs="+", choices=TITLES, default=list(TITLES))
    arguments = parser.parse_args()
    sides = {name: start(name, arguments.batch, arguments.allocator) for name in arguments.sides}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(arguments.rounds + 1):
        for name, side in sides.items():
            rounds[name].append(step(side))
    for side in sides.values():
        side.communicate()
    print(f"{cpu_model()} | torch {torch.__version__} | {torch.backends.cpu.get_cpu_capability()} | Python "
          f"{platform.python_version()} | batch {arguments.batch}, fp32, one thread, n = {arguments.rounds} rounds in "
          f"turns | allocator: {arguments.allocator} | load {os.getloadavg()[0]:.1f}\n")
    print("| step | CPU-seconds (median) | spread | times fewer | peak memory, MB | of the straightforward |")
    print("|---|---:|---:|---:|---:|---:|")
    first = next(iter(rounds.values()))
    for name, measured in rounds.items():
        print(row(TITLES[name], measured, first))


def start(name: str, batch: int, allocator: str) -> subprocess.Popen[str]:
    """Starts the process of one side; it takes a step for each line on its input."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if allocator == "workers":
        environment["GLIBC_TUNABLES"] = WORKERS
    else:
        environment.pop("GLIBC_TUNABLES", None)
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.darts_step.sides", name, "--batch", str(batch)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )


def step(side: subprocess.Popen[str]) -> dict[str, Any]:
    """Takes one step of one side and returns its cost."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write("step\n")
    side.stdin.flush()
    cost: dict[str, Any] = json.loads(side.stdout.readline())
    return cost


def row(title: str, measured: list[dict[str, float]], first: list[dict[str, float]]) -> str:
    """Returns one line of the table; `first` are the rounds of the side that it is compared with."""
    costs = [cost["cpu_s"] for cost in measured[1:]]
    ratios = [base["cpu_s"] / cost["cpu_s"] for cost, base in zip(measured[1:], first[1:], strict=True)]
    middle = statistics.median(costs)
    peak, peak_of_first = (side[-1]["peak_bytes"] - side[-1]["before_bytes"] for side in (measured, first))
    return (f"| {title} | {middle:.2f} | {(max(costs) - min(costs)) / middle:.0%} | {statistics.median(ratios):.1f} | "
            f"{peak / 1e6:,.0f} | {peak / peak_of_first:.2f} |")


def cpu_model() -> str:
    """Returns the name of the CPU as the kernel reports it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
