"""A small network trained on real digits, and its files, shared by all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_pipeline.core.records import InputSpec
from nas_pipeline.export.int8 import quantize_int8
from nas_pipeline.export.onnx_file import export_onnx

SPEC = InputSpec(channels=1, height=8, width=8, classes=10)
OPSET = 20


class Mirrored(nn.Module):
    """Averages the logits of the image and its mirror image, as a shipped network may."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.body(x) + self.body(x.flip(3))) / 2


@dataclass(frozen=True)
class Digits:
    train: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray


@dataclass(frozen=True)
class Shipped:
    net: nn.Module
    fp32: Path
    int8: Path


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )


@pytest.fixture(scope="session")
def digits() -> Digits:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    normalised = ((images / 16.0 - 0.305) / 0.376).astype(np.float32).reshape(-1, 1, 8, 8)
    return Digits(normalised[:1200], normalised[1200:], labels[1200:].astype(np.int64))


@pytest.fixture(scope="session")
def trained(digits: Digits) -> nn.Module:
    from sklearn.datasets import load_digits

    torch.set_num_threads(1)
    net, labels = network(), torch.from_numpy(load_digits().target[:1200].astype(np.int64))
    images = torch.from_numpy(digits.train)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for step in range(120):
        batch = torch.arange(step * 64, step * 64 + 64) % len(images)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimiser.step()
    return net.eval()


@pytest.fixture(scope="session")
def plain(trained: nn.Module, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return _ship(trained, digits, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def mirrored(trained: nn.Module, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return _ship(Mirrored(trained), digits, tmp_path_factory.mktemp("mirrored"))


@pytest.fixture(params=["plain", "mirrored"])
def shipped(request: pytest.FixtureRequest) -> Shipped:
    return request.getfixturevalue(request.param)


def _ship(net: nn.Module, digits: Digits, folder: Path) -> Shipped:
    files = Shipped(net, folder / "fp32.onnx", folder / "int8.onnx")
    export_onnx(net, SPEC, files.fp32, opset=OPSET)
    quantize_int8(files.fp32, files.int8, digits.train[:256])
    return files
