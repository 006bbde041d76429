"""Drawings of networks: their blocks with shapes and costs as text, SVG or PNG.

Equal rows give equal bytes, so a drawing can be an artefact of a cached stage.
"""

from __future__ import annotations

import copy
import functools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.space.canvas import GREY, INK, LINE, ROW_IN, canvas, saved
from nas_pipeline.space.cell_drawing import lines_of, paint_cells, width_of
from nas_pipeline.space.cell_graph import graphs_of

_MOST_ROWS = 24
_FLOPS_PER_MAC = 2
_REST = "(outside the blocks)"

_MACS, _PARAMS = "#2f6fb0", "#c77d2e"
_MACS_X, _PARAMS_X, _BAR_IN = 6.95, 8.3, 0.7


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One block: `output_shape` without the batch, trainable `params`, `macs` for one image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    macs: int


def layer_rows(net: nn.Module, spec: InputSpec) -> list[LayerRow]:
    """Return the blocks of `net` in the order of execution.

    A block is a layer, or a module that is more than a plain container of other blocks. Parameters and MACs that
    belong to no block form a last row, so that the columns always sum to the totals. The shapes come from hooks on a
    copy on the "meta" device, so nothing is computed and `net` is not changed.
    """
    shadow = copy.deepcopy(net).to("meta").eval()
    blocks = _blocks(shadow)
    counter = FlopCounterMode(display=False)
    shapes: dict[str, tuple[int, ...]] = {}
    flops = dict.fromkeys(blocks, 0)

    def enter(name: str, module: nn.Module, inputs: Any) -> None:
        flops[name] -= counter.get_total_flops()

    def leave(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        flops[name] += counter.get_total_flops()
        first = output[0] if isinstance(output, tuple | list) else output
        shapes.setdefault(name, tuple(first.shape[1:]))

    for name, module in blocks.items():
        module.register_forward_pre_hook(functools.partial(enter, name))
        module.register_forward_hook(functools.partial(leave, name))
    with torch.no_grad(), counter:
        output = shadow(torch.empty(1, spec.channels, spec.height, spec.width, device="meta"))

    counted: set[int] = set()  # a parameter that two blocks share is counted in the first
    rows = [
        LayerRow(name, _kind(blocks[name]), shape, _parameters(blocks[name], counted), flops[name] // _FLOPS_PER_MAC)
        for name, shape in shapes.items()
    ]
    params = _parameters(shadow, counted)
    macs = counter.get_total_flops() // _FLOPS_PER_MAC - sum(row.macs for row in rows)
    if params or macs:
        rows.append(LayerRow(_REST, "", tuple(output.shape[1:]), params, macs))
    return rows


def render_text(rows: Sequence[LayerRow]) -> str:
    """Return a text table, indented by container, with the totals in its last line."""
    table = [("layer", "kind", "output", "params", "MACs", "share of MACs")]
    container = ""
    total = _total(rows)
    for row in rows:
        above, _, name = row.name.rpartition(".")
        if above != container and above:
            table.append((above, "", "", "", "", ""))
        container = above
        share = f"{_share(row.macs, total.macs):.0%}"
        label = f"  {name}" if above else name
        table.append((label, row.kind, _shape(row), f"{row.params:,}", f"{row.macs:,}", share))
    table.append(("total", "", "", f"{total.params:,}", f"{total.macs:,}", ""))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def draw(genotype: Genotype, rows: Sequence[LayerRow], path: Path) -> None:
    """Write a drawing of the network to `path` as SVG or PNG, by its suffix.

    Blocks are drawn from top to bottom, darker with more MACs, followed by the graphs of the cells.

    Raises:
        ConfigError: The suffix is neither .svg nor .png.
    """
    with saved(genotype, path) as write:
        write(_figure(genotype, rows))


def _figure(genotype: Genotype, rows: Sequence[LayerRow]) -> Figure:
    genes, graphs = _gene_lines(genotype), graphs_of(genotype)
    after = len(rows) + lines_of(graphs)
    figure, axes = canvas(width_of(graphs), above=2.3, below=after + 0.6 + 0.42 * len(genes))
    paint_cells(axes, graphs, len(rows))
    total = _total(rows)
    axes.text(0.3, -1.55, f"{genotype.space}  {genotype.id}", fontsize=14, fontweight="bold", color=INK, va="center")
    summary = f"{_short(total.params)} parameters   {_short(total.macs)} MACs per image"
    axes.text(0.3, -0.85, summary, fontsize=10, color=GREY, va="center")
    for x, heading in ((_MACS_X, "MACs"), (_PARAMS_X, "parameters")):
        axes.text(x, -0.3, heading, fontsize=7.5, color=GREY, va="center")
    most = LayerRow("most", "", (), *(max(column, default=0) for column in _costs(rows)))
    for number, row in enumerate(rows):
        following = rows[number + 1].name if number + 1 < len(rows) else _REST
        _draw_row(axes, number, row, most, arrow=following != _REST)
    for number, line in enumerate(genes):
        axes.text(0.3, after + 0.5 + 0.42 * number, line, fontsize=7, color=GREY, va="center")
    return figure


def _draw_row(axes: Axes, number: int, row: LayerRow, most: LayerRow, arrow: bool) -> None:
    axes.add_patch(FancyBboxPatch(
        (1.75, number + 0.14), 4.9, 0.62, boxstyle="round,pad=0,rounding_size=0.06", mutation_aspect=1 / ROW_IN,
        facecolor=_tint(_MACS, 0.05 + 0.45 * _share(row.macs, most.macs)), edgecolor=LINE, linewidth=0.8,
    ))
    middle = number + 0.45
    axes.text(1.6, middle, _shorten(row.name, 22), fontsize=7.5, color=GREY, ha="right", va="center")
    axes.text(1.9, middle, _shorten(row.kind, 44), fontsize=9, color=INK, va="center")
    axes.text(6.5, middle, _shape(row), fontsize=8.5, color=INK, ha="right", va="center")
    if arrow:
        axes.annotate("", (4.2, number + 1.14), (4.2, number + 0.76),
                      arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0,
                                  "mutation_scale": 6})
    for x, value, largest, colour in (
        (_MACS_X, row.macs, most.macs, _MACS), (_PARAMS_X, row.params, most.params, _PARAMS)
    ):
        length = max(_BAR_IN * _share(value, largest), 0.01)
        axes.add_patch(Rectangle((x, number + 0.3), length, 0.3, facecolor=colour if value else LINE, linewidth=0))
        axes.text(x + length + 0.06, middle, _short(value), fontsize=7.5, color=INK if value else GREY, va="center")


def _gene_lines(genotype: Genotype) -> list[str]:
    """Return the decisions, one line per part of the network (`stage1.width` belongs to `stage1`)."""
    parts: dict[str, list[str]] = {}
    for name, choice in genotype.genes:
        part, _, rest = name.rpartition(".")
        parts.setdefault(part, []).append(f"{rest} {choice}")
    lines = (f"{part}:  {', '.join(genes)}" if part else ", ".join(genes) for part, genes in parts.items())
    return [piece for line in lines for piece in textwrap.wrap(line, width=140, subsequent_indent="      ")]


def _blocks(net: nn.Module) -> dict[str, nn.Module]:
    """Name -> block. Containers are expanded to three levels, or to two if there would be too many rows."""
    deep, shallow = (dict(_opened(net, "", levels)) for levels in (3, 2))
    return deep if len(deep) <= _MOST_ROWS else shallow


def _opened(module: nn.Module, prefix: str, levels: int) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        full = f"{prefix}{name}"
        plain = type(child) is nn.Sequential and any(any(True for _ in inner.children()) for inner in child)
        if isinstance(child, nn.ModuleList | nn.ModuleDict) or (plain and levels > 1):
            yield from _opened(child, f"{full}.", levels - 1)
        elif not isinstance(child, nn.Identity):
            yield full, child


def _kind(block: nn.Module) -> str:
    """Class of the block, its kernel of the largest receptive field and its stride; of a plain sequence its layers."""
    if type(block) is nn.Sequential:
        return ", ".join(_kind(layer) for layer in block if not isinstance(layer, nn.Identity))
    if isinstance(block, nn.Linear):
        return f"Linear {block.in_features} → {block.out_features}"
    words = [type(block).__name__]
    if isinstance(block, nn.MaxPool2d | nn.AvgPool2d):
        words += [_size(block.kernel_size), *([f"/{_side(block.stride)}"] if _side(block.stride) > 1 else [])]
    convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    if convolutions:
        widest = max(convolutions, key=lambda layer: (layer.kernel_size[0] - 1) * layer.dilation[0])
        words.append(_size(widest.kernel_size))
        words += [f"dilated {widest.dilation[0]}"] if widest.dilation[0] > 1 else []
        stride = max(layer.stride[0] for layer in convolutions)
        words += [f"/{stride}"] if stride > 1 else []
    if any(type(layer).__name__.startswith("SqueezeExcitation") for layer in block.modules()):
        words.append("+ SE")
    return " ".join(words)


def _parameters(module: nn.Module, counted: set[int]) -> int:
    new = [parameter for parameter in module.parameters() if parameter.requires_grad and id(parameter) not in counted]
    counted.update(id(parameter) for parameter in new)
    return sum(parameter.numel() for parameter in new)


def _total(rows: Sequence[LayerRow]) -> LayerRow:
    return LayerRow("total", "", (), *(sum(column) for column in _costs(rows)))


def _costs(rows: Sequence[LayerRow]) -> tuple[list[int], list[int]]:
    return [row.params for row in rows], [row.macs for row in rows]


def _share(value: int, whole: int) -> float:
    return value / whole if whole else 0.0


def _shape(row: LayerRow) -> str:
    return "x".join(str(size) for size in row.output_shape)


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, tuple) else size)


def _size(size: Any) -> str:
    height, width = size if isinstance(size, tuple) else (size, size)
    return f"{height}x{width}"


def _short(value: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return str(value)


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tint(colour: str, strength: float) -> tuple[float, float, float]:
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue
