"""Drawings of cells: the normal and the reduction graph, in a separate file or below the drawing of the network.

Equal genotypes give equal bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.canvas import GREY, INK, LINE, ROW_IN, WIDTH_IN, canvas, saved
from nas_pipeline.space.cell_graph import OP_BEFORE_NODE, CellGraph, GraphPoint, graphs_of, layout

_LEFT, _RIGHT = 0.75, 0.5
"""Inches beside the columns."""

_COLUMN_IN, _MOST_COLUMN_IN = 1.85, 2.4
_OP_WIDE, _OP_HIGH, _STATE_WIDE = 0.98, 0.6, 0.3
_ABOVE, _BELOW = 1.4, 0.3
"""Lines above a graph (they hold its title) and below it."""

_COLOURS = {"sep": "#cfe0f2", "nor": "#cfe0f2", "dil": "#dcd3ee", "avg": "#f6e2cb", "max": "#f6e2cb"}
"""Colours of operations by the first three letters of their names."""


def cells_svg(genotype: Genotype) -> bytes:
    """Return the graphs of the cells of `genotype` as the bytes of an SVG file; raises as `draw_cells`."""
    with tempfile.TemporaryDirectory() as folder:
        draw_cells(genotype, Path(folder) / "cells.svg")
        return (Path(folder) / "cells.svg").read_bytes()


def draw_cells(genotype: Genotype, path: Path) -> None:
    """Write the graphs of the cells of `genotype` to `path` as SVG or PNG, by its suffix.

    Raises:
        ConfigError: The suffix is neither .svg nor .png.
        SpaceError: `genotype` has no cells.
    """
    graphs = graphs_of(genotype)
    if not graphs:
        raise SpaceError(f"genotype {genotype.id} of space {genotype.space!r} has no cells to draw")
    with saved(genotype, path) as write:
        figure, axes = canvas(width_of(graphs), above=1.3, below=lines_of(graphs))
        axes.text(0.3, -0.75, f"{genotype.space}  {genotype.id}", fontsize=14, fontweight="bold", color=INK,
                  va="center")
        paint_cells(axes, graphs, 0.0)
        write(figure)


def width_of(graphs: Sequence[CellGraph]) -> float:
    """Return the width of the graphs in inches; at least that of the drawing of a network."""
    widest = max((layout(graph).columns for graph in graphs), default=0.0)
    return max(WIDTH_IN, _LEFT + widest * _COLUMN_IN + _RIGHT)


def lines_of(graphs: Sequence[CellGraph]) -> float:
    """Return the number of lines that the graphs need when they are stacked, titles included."""
    return sum(_ABOVE + layout(graph).lines + _BELOW for graph in graphs)


def paint_cells(axes: Axes, graphs: Sequence[CellGraph], top: float) -> None:
    """Draw the graphs on `axes` from line `top` downwards; x is in inches, y in lines."""
    for graph in graphs:
        axes.text(0.3, top + 0.45, graph.title, fontsize=10, fontweight="bold", color=INK, va="center")
        _paint(axes, graph, top + _ABOVE)
        top += lines_of([graph])


def _paint(axes: Axes, graph: CellGraph, top: float) -> None:
    points = layout(graph)
    column = min(_MOST_COLUMN_IN, (width_of([graph]) - _LEFT - _RIGHT) / points.columns)

    def at(point: GraphPoint) -> GraphPoint:
        return _LEFT + point[0] * column, top + point[1]

    for edge, op_point in zip(graph.edges, points.ops, strict=True):
        source, target, (x, y) = at(points.states[edge.source]), at(points.states[edge.target]), at(op_point)
        start = source[0] + _STATE_WIDE / 2
        gap = (1 - OP_BEFORE_NODE) * column - _OP_WIDE / 2 - _STATE_WIDE / 2
        _line(axes, (start, source[1]), start + gap, (x - _OP_WIDE / 2, y), GREY)
        _line(axes, (x + _OP_WIDE / 2, y), target[0] - _STATE_WIDE / 2, target, GREY)
    for state in graph.outputs:
        end = at(points.output)
        _line(axes, end, end[0] - 0.4 * column, at(points.states[state]), LINE)
    for edge, op_point in zip(graph.edges, points.ops, strict=True):
        x, y = at(op_point)
        axes.add_patch(FancyBboxPatch(
            (x - _OP_WIDE / 2, y - _OP_HIGH / 2), _OP_WIDE, _OP_HIGH, boxstyle="round,pad=0,rounding_size=0.06",
            mutation_aspect=1 / ROW_IN, facecolor=_COLOURS.get(edge.op[:3], "#eef1f4"), edgecolor=LINE, linewidth=0.8,
            zorder=3,
        ))
        axes.text(x, y, edge.op, fontsize=7.5, color=INK, ha="center", va="center", zorder=4)
    for number, name in enumerate(graph.states):
        _state(axes, at(points.states[number]), name)
    _state(axes, at(points.output), graph.output)


def _state(axes: Axes, centre: GraphPoint, name: str) -> None:
    wide = _STATE_WIDE if len(name) < 3 else 2 * _STATE_WIDE
    axes.add_patch(Ellipse(
        centre, wide, _STATE_WIDE / ROW_IN, facecolor="white", edgecolor=GREY, linewidth=1, zorder=5
    ))
    axes.text(*centre, name, fontsize=8, color=INK, ha="center", va="center", zorder=6)


def _line(axes: Axes, start: GraphPoint, turned: float, end: GraphPoint, colour: str) -> None:
    """Draw a curve that reaches the line of `end` at x = `turned` and is straight from there on."""
    middle = (start[0] + turned) / 2
    bend = [start, (middle, start[1]), (middle, end[1]), (turned, end[1]), end]
    curve = Curve(bend, [Curve.MOVETO, *[Curve.CURVE4] * 3, Curve.LINETO])
    axes.add_patch(PathPatch(curve, fill=False, edgecolor=colour, linewidth=1.1, zorder=2))
