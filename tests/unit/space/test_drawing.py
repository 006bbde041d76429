import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError
from nas_pipeline.space.depthwise import DepthwiseConv2d
from nas_pipeline.space.drawing import LayerRow, draw, layer_rows, render_text

SPEC = InputSpec(channels=3, height=16, width=16, classes=10)
GENOTYPE = Genotype("toy", 1, (("stem.width", 8), ("stem.kernel", 3), ("depth", 2), ("lr", 0.1)))
ROWS = [
    LayerRow("features.0", "ConvBnAct 3x3", (8, 16, 16), 232, 55_296),
    LayerRow("features.1", "InvertedResidual 5x5 /2", (16, 8, 8), 5_000, 1_200_000),
    LayerRow("classifier", "Linear 16 → 10", (10,), 170, 160),
]


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            DepthwiseConv2d(channels, 5, dilation=2), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Net(nn.Module):
    """Nested containers, a list, a scale that belongs to no block, a layer never used, one used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 10)  # made first, met last
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(Block(8), Block(8)),
            nn.Identity(),
        )
        self.cells = nn.ModuleList([Block(8), nn.MaxPool2d(2)])
        self.twice = nn.Conv2d(8, 8, 1)
        self.scale = nn.Parameter(torch.ones(8))
        self.auxiliary = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        for cell in self.cells:
            x = cell(x)
        x = self.twice(self.twice(x))
        logits: Tensor = self.head(x.mean((2, 3)) * self.scale)
        return logits


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_rows_are_the_blocks_in_the_order_of_the_data() -> None:
    rows = layer_rows(Net(), SPEC)
    assert [(row.name, row.output_shape) for row in rows] == [
        ("features.0", (8, 8, 8)),
        ("features.1.0", (8, 8, 8)),
        ("features.1.1", (8, 8, 8)),
        ("cells.0", (8, 8, 8)),
        ("cells.1", (8, 4, 4)),
        ("twice", (8, 4, 4)),
        ("head", (10,)),
        ("(outside the blocks)", (10,)),
    ]
    assert [row.kind for row in rows] == [
        "Conv2d 3x3 /2, BatchNorm2d, ReLU", "Block 5x5 dilated 2", "Block 5x5 dilated 2", "Block 5x5 dilated 2",
        "MaxPool2d 2x2 /2", "Conv2d 1x1", "Linear 8 → 10", "",
    ]


def test_costs_of_each_block_and_of_the_whole() -> None:
    net = Net()
    rows = {row.name: row for row in layer_rows(net, SPEC)}
    assert rows["features.0"].macs == 3 * 9 * 8 * 64
    assert rows["features.1.0"].macs == (25 + 8) * 8 * 64
    assert rows["features.1.0"].params == 25 * 8 + 16 + 64
    assert rows["twice"].macs == 2 * 64 * 16  # both calls
    assert rows["(outside the blocks)"].params == 8 + 27  # the scale and the unused layer
    assert sum(row.params for row in rows.values()) == sum(parameter.numel() for parameter in net.parameters())
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.eval()(torch.randn(1, 3, 16, 16))
    assert sum(row.macs for row in rows.values()) == counter.get_total_flops() // 2


def test_the_network_itself_stays_as_it_was() -> None:
    net = Net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layer_rows(net, SPEC)
    assert net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_shared_layer_is_counted_once() -> None:
    shared = nn.Conv2d(3, 3, 1, bias=False)
    net = nn.Sequential(nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared, nn.ReLU()))
    assert [row.params for row in layer_rows(net, SPEC)] == [9, 0]


def test_a_very_deep_network_is_drawn_in_larger_blocks() -> None:
    stages = [nn.Sequential(*(Block(3) for _ in range(9))) for _ in range(3)]
    net = nn.Sequential(nn.Sequential(*stages[:2]), stages[2])
    names = [row.name for row in layer_rows(net, SPEC)]
    assert names[:3] == ["0.0", "0.1", "1.0"]
    assert len(names) == 11


def test_text_lines_up_and_ends_in_the_totals() -> None:
    lines = render_text(ROWS).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["layer", "features", "", "", "classifier", "total"]
    assert lines[3].split() == ["1", "InvertedResidual", "5x5", "/2", "16x8x8", "5,000", "1,200,000", "96%"]
    assert lines[-1].split() == ["total", "5,402", "1,255,456"]
    assert len({len(line) for line in lines if "%" in line}) == 1
    assert render_text([]).splitlines()[-1].split() == ["total", "0", "0"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_equal_networks_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    draw(GENOTYPE, ROWS, first)
    draw(GENOTYPE, ROWS, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" or first.read_bytes().startswith(b"<?xml")
    draw(GENOTYPE, ROWS[:2], second)
    assert first.read_bytes() != second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_the_drawing_says_what_the_network_is(tmp_path: Path) -> None:
    draw(GENOTYPE, ROWS, tmp_path / "net.svg")
    text = " | ".join(ElementTree.parse(tmp_path / "net.svg").getroot().itertext())
    for words in (
        f"toy  {GENOTYPE.id}", "5.4 k parameters", "1.26 M MACs per image", "InvertedResidual 5x5 /2", "16x8x8",
        "features.1", "1.2 M", "stem:  width 8, kernel 3", "depth 2, lr 0.1",
    ):
        assert words in text


def test_long_names_are_cut_and_no_rows_is_no_crash(tmp_path: Path) -> None:
    draw(GENOTYPE, [LayerRow("a" * 80, "k" * 80, (1,), 0, 0)], tmp_path / "net.svg")
    text = (tmp_path / "net.svg").read_text(encoding="utf-8")
    assert "a" * 22 not in text
    assert "…" in text
    draw(GENOTYPE, [], tmp_path / "none.svg")
    assert (tmp_path / "none.svg").stat().st_size > 0


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot draw net\.pdf: the suffix must be \.svg or \.png"):
        draw(GENOTYPE, ROWS, tmp_path / "net.pdf")
    assert not list(tmp_path.iterdir())
