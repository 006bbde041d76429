"""The commands `nas show`, `nas catalog` and `nas space`. They read, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_pipeline.cli.options import AsJson, Channels, Classes, Size, print_json
from nas_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from nas_pipeline.core.genotype import Genotype
    from nas_pipeline.core.records import InputSpec

inspect_commands = typer.Typer()


@inspect_commands.command()
def show(
    genotype: Annotated[str, typer.Argument(
        help="JSON file with a genotype (e.g. winner.json), or the name of a hand-designed or published network.")],
    width: Annotated[int | None, typer.Option(min=1, help="Another width (cell spaces only).")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Another number of cells (cell spaces only).")] = None,
    channels: Channels = 1, size: Size = 28, classes: Classes = 10, as_json: AsJson = False,
) -> None:
    """Show one network: its parameters, its MACs and a table of its layers."""
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space.cell import resized
    from nas_pipeline.space.cost import cost
    from nas_pipeline.space.drawing import layer_rows, render_text
    from nas_pipeline.space.load import build_network

    resized_genotype, spec = resized(_genotype(genotype), width, cells), InputSpec(channels, size, size, classes)
    net = build_network(resized_genotype, spec).eval()
    network_cost, rows = cost(net, spec), layer_rows(net, spec)
    if as_json:
        print_json({"id": resized_genotype.id, **resized_genotype.to_json(), "input": _plain(spec),
                    "params": network_cost.params, "macs": network_cost.macs, "layers": [_plain(row) for row in rows]})
        return
    typer.echo(f"{resized_genotype.space} {resized_genotype.id}: {network_cost.params:,} parameters, "
               f"{network_cost.macs:,} MACs\n{render_text(rows)}")


@inspect_commands.command()
def catalog(as_json: AsJson = False) -> None:
    """List the names of all spaces, operations, networks, strategies and other plug-ins, by kind."""
    kinds = _catalogues()
    if as_json:
        print_json(kinds)
        return
    for kind, names in kinds.items():
        typer.echo(f"{kind:15} {', '.join(names)}")


@inspect_commands.command()
def space(
    name: Annotated[str, typer.Argument(help="Name of a space; `nas catalog` lists them.")],
    samples: Annotated[int, typer.Option(min=1, help="Size of the random sample.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the random architectures.")] = 0,
    channels: Channels = 1, size: Size = 28, classes: Classes = 10,
    supernet: Annotated[bool, typer.Option("--supernet", help="Show the search network of the space cell.")] = False,
    width: Annotated[int, typer.Option(min=1, help="With --supernet: channels of the first cells.")] = 16,
    cells: Annotated[int, typer.Option(min=1, help="With --supernet: number of cells.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Show the number of architectures in a space, and the MACs and parameters of a random sample.

    With --supernet: the number of weights and architecture parameters of its search network.
    """
    from nas_pipeline.core.records import InputSpec
    from nas_pipeline.space import SPACES
    from nas_pipeline.space.cost import sample_costs
    from nas_pipeline.space.enumeration import size as size_of

    search_space = SPACES.make(name)
    spec = InputSpec(channels, size, size, classes)
    if supernet:
        _show_search_network(name, spec, width, cells, as_json)
        return
    costs = sample_costs(search_space, spec, samples, seed)
    size_of_space = size_of(search_space)
    if as_json:
        print_json({"name": name, "version": search_space.version, "size": size_of_space, "input": _plain(spec),
                    "samples": samples, **costs})
        return
    typer.echo(f"{name}: {size_of_space:,} architectures; of {samples} random ones (min / median / max):")
    for metric in ("macs", "params"):
        low, middle, high = (costs[metric][key] for key in ("min", "median", "max"))
        typer.echo(f"  {metric:7} {low:,.0f} / {middle:,.0f} / {high:,.0f}")


def _show_search_network(space: str, spec: InputSpec, width: int, cells: int, as_json: bool) -> None:
    from nas_pipeline.search.differentiable.network.search_network import SearchNetwork

    if space != "cell":
        raise ConfigError(f"space {space} has no search network: leave --supernet out, or use the space cell")
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
    from nas_pipeline.data.sources import SOURCES
    from nas_pipeline.latency.probes import PROBES
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
