"""The commands that only look: one network, the plug-ins, a space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from nas_pipeline.core.genotype import Genotype
    from nas_pipeline.core.records import InputSpec

commands = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of an input image.")]
Size = Annotated[int, typer.Option(min=8, help="Height and width of an input image, in pixels.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]


@commands.command()
def show(
    genotype: Annotated[str, typer.Argument(
        help="A JSON file with a genotype, or the name of a hand-designed or published network.")],
    width: Annotated[int | None, typer.Option(min=1, help="Of a network of cells: another width.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Of a network of cells: another number of cells.")] = None,
    channels: Channels = 1, size: Size = 28, classes: Classes = 10, as_json: AsJson = False,
) -> None:
    """Parameters, MACs and a drawing of one network."""
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space.cell import resized
    from nas_pipeline.space.cost import cost
    from nas_pipeline.space.drawing import layer_rows, render_text
    from nas_pipeline.space.load import build_network

    found, spec = resized(_genotype(genotype), width, cells), InputSpec(channels, size, size, classes)
    net = build_network(found, spec).eval()
    counted, rows = cost(net, spec), layer_rows(net, spec)
    if as_json:
        print_json({"id": found.id, **found.to_json(), "input": _plain(spec), "params": counted.params,
                     "macs": counted.macs, "layers": [_plain(row) for row in rows]})
        return
    typer.echo(f"{found.space} {found.id}: {counted.params:,} parameters, {counted.macs:,} MACs\n{render_text(rows)}")


@commands.command()
def catalog(as_json: AsJson = False) -> None:
    """Every plug-in of every kind, by name."""
    kinds = _catalogues()
    if as_json:
        print_json(kinds)
        return
    for kind, names in kinds.items():
        typer.echo(f"{kind:15} {', '.join(names)}")


@commands.command()
def space(
    name: Annotated[str, typer.Argument(help="One of the spaces in `nas catalog`.")],
    samples: Annotated[int, typer.Option(min=1, help="Random members to cost.")] = 100,
    seed: int = 0, channels: Channels = 1, size: Size = 28, classes: Classes = 10,
    supernet: Annotated[bool, typer.Option("--supernet", help="The search network instead.")] = False,
    width: Annotated[int, typer.Option(min=1, help="With --supernet: channels of its first cells.")] = 16,
    cells: Annotated[int, typer.Option(min=1, help="With --supernet: its depth.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Size of a space, and what its members cost; or the size of its search network."""
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space import SPACES
    from nas_pipeline.space.cost import sample_costs
    from nas_pipeline.space.enumeration import size as size_of

    member = SPACES.make(name)
    spec = InputSpec(channels, size, size, classes)
    if supernet:
        _show_search_network(name, spec, width, cells, as_json)
        return
    found: dict[str, Any] = {"name": name, "version": member.version, "size": size_of(member), "input": _plain(spec),
             "samples": samples, **sample_costs(member, spec, samples, seed)}
    if as_json:
        print_json(found)
        return
    typer.echo(f"{name}: {found['size']:,} architectures; of {samples} random ones (min / median / max):")
    for metric in ("macs", "params"):
        low, middle, high = (found[metric][key] for key in ("min", "median", "max"))
        typer.echo(f"  {metric:7} {low:,.0f} / {middle:,.0f} / {high:,.0f}")


def _show_search_network(space: str, spec: InputSpec, width: int, cells: int, as_json: bool) -> None:
    from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

    if space != "cell":
        raise ConfigError(f"space {space} has no search network; leave --supernet out, or take the space cell")
    net = SearchNetwork(spec, width=width, cells=cells)
    weights = sum(weight.numel() for weight in net.weights())
    alphas = {kind: list(parameter.shape) for kind, parameter in net.alphas.items()}
    if as_json:
        print_json({"name": space, "input": _plain(spec), "width": width, "cells": cells, "ops": net.ops,
                    "weights": weights, "alphas": alphas})
        return
    shapes = ", ".join(f"{kind} {rows} edges x {columns} operations" for kind, (rows, columns) in alphas.items())
    typer.echo(f"search network of {space}: {weights:,} weights; architecture parameters: {shapes}")


def _genotype(name: str) -> Genotype:
    from nas_pipeline.space.baselines import BASELINES
    from nas_pipeline.space.load import genotype_from_file
    from nas_pipeline.space.published import PUBLISHED

    named = {**BASELINES, **PUBLISHED}
    if name in named:
        return named[name]
    if not Path(name).exists():
        raise ConfigError(f"{name} is neither a file nor a hand-designed or published network; those are: "
                          f"{', '.join(named)}")
    return genotype_from_file(Path(name))


def _catalogues() -> dict[str, list[str]]:
    from nas_pipeline.data import SOURCES
    from nas_pipeline.latency import PROBES
    from nas_pipeline.search import EVALUATORS, STRATEGIES
    from nas_pipeline.search.early_stopping import EARLY_STOPPING
    from nas_pipeline.space import SPACES
    from nas_pipeline.space.baselines import BASELINES
    from nas_pipeline.space.ops import OPS
    from nas_pipeline.space.published import PUBLISHED
    from nas_pipeline.train.optimiser import OPTIMISERS

    return {
        "source": list(SOURCES), "space": list(SPACES), "op": list(OPS), "baseline": list(BASELINES),
        "published": list(PUBLISHED),
        "strategy": list(STRATEGIES), "evaluator": list(EVALUATORS), "early_stopping": list(EARLY_STOPPING),
        "optimiser": list(OPTIMISERS), "probe": list(PROBES),
    }


def _plain(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)


def print_json(value: Any) -> None:
    """For programs."""
    typer.echo(json.dumps(value, indent=1))
