from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ConfigError, SpaceError
from nas_pipeline.space.baselines import BASELINES
from nas_pipeline.space.cell import CellSpace
from nas_pipeline.space.cell_drawing import cells_svg, draw_cells
from nas_pipeline.space.cell_graph import CellGraph, Edge, graphs_of, layout
from nas_pipeline.space.choosers import sample
from nas_pipeline.space.drawing import draw, layer_rows
from nas_pipeline.space.load import build_network
from nas_pipeline.space.nasbench201 import from_architecture
from nas_pipeline.space.published import PUBLISHED

DARTS = PUBLISHED["darts_v2"]
BENCHMARK = from_architecture("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|")


def words(svg: bytes) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip()]


def test_the_graphs_are_those_of_the_genotype() -> None:
    normal, reduce = graphs_of(DARTS)
    assert (normal.title, reduce.title) == ("normal cell", "reduction cell")
    assert normal.states == ("c(k-2)", "c(k-1)", "0", "1", "2", "3")
    assert normal.edges[-2:] == (Edge(0, 5, "skip_connect"), Edge(2, 5, "dil_conv_3x3"))
    assert normal.outputs == (2, 3, 4, 5)
    (cell,) = graphs_of(BENCHMARK)
    assert cell.edges == (Edge(0, 1, "nor_conv_3x3"), Edge(0, 3, "skip_connect"), Edge(1, 3, "nor_conv_1x1"))
    assert graphs_of(BASELINES["dense_residual"]) == ()
    assert graphs_of(Genotype("cell", 99, ())) == ()


def test_operations_have_lines_of_their_own_and_edges_go_to_the_right() -> None:
    genotypes = [sample(CellSpace(nodes=nodes), random.Random(nodes)) for nodes in range(1, 7)]
    graphs: list[CellGraph] = [graph for genotype in [*genotypes, BENCHMARK] for graph in graphs_of(genotype)]
    for graph in graphs:
        places = layout(graph)
        lines = [line for _, line in places.ops]
        assert len(set(lines)) == len(lines)
        assert max(lines) < places.lines
        for edge, op in zip(graph.edges, places.ops, strict=True):
            assert places.states[edge.source][0] < op[0] < places.states[edge.target][0]
        nodes = places.states[graph.inputs:]
        assert all(a != b for a, b in itertools.combinations(nodes, 2))


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_equal_cells_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in "abc"]
    for path, name in zip(files, ("darts_v2", "darts_v2", "darts_v1"), strict=True):
        draw_cells(PUBLISHED[name], path)
    first, second, third = (path.read_bytes() for path in files)
    assert first == second != third
    assert sorted(tmp_path.iterdir()) == files


def test_a_drawing_says_what_is_on_the_edges() -> None:
    labels = words(cells_svg(DARTS))
    assert labels.count("sep_conv_3x3") == 5
    assert labels.count("max_pool_3x3") == 5
    assert labels.count("skip_connect") == 5
    assert {"normal cell", "reduction cell", "c(k-2)", "c(k-1)", "c(k)", f"cell  {DARTS.id}"} <= set(labels)


def test_the_drawing_of_a_network_shows_its_cells(tmp_path: Path) -> None:
    genotype = sample(CellSpace(widths=[2], cells=[3], nodes=5), random.Random(0))
    spec = InputSpec(1, 8, 8, 3)
    draw(genotype, layer_rows(build_network(genotype, spec), spec), tmp_path / "net.svg")
    labels = words((tmp_path / "net.svg").read_bytes())
    assert {"normal cell", "reduction cell", "c(k)", "classifier", "cells.2"} <= set(labels)
    assert any(text.startswith("ReductionCell") for text in labels)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="of space 'residual' has no cells to draw"):
        draw_cells(BASELINES["dense_residual"], tmp_path / "cells.svg")
    with pytest.raises(ConfigError, match=r"cannot draw cells\.pdf"):
        draw_cells(DARTS, tmp_path / "cells.pdf")
