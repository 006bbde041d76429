"""Options that several commands share, and JSON output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

ProjectRoot = Annotated[Path, typer.Option(help="Folder of the project.")]
TargetName = Annotated[str, typer.Option(help="Name of a target in params.yaml.")]
PromotionReason = Annotated[str, typer.Option(help="Reason, stored in the history.")]
ProfileName = Annotated[str, typer.Option(help="Profile whose workspace is used.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of an input image.")]
Size = Annotated[int, typer.Option(min=8, help="Height and width of an input image, in pixels.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]


def open_profile_workspace(root: Path, profile: str, overrides: list[str] | None = None) -> Path:
    """Returns the folder in which `profile` with `overrides` runs; it is created or updated if necessary."""
    from nas_pipeline.config.workspace import open_workspace  # lazy: pydantic

    return open_workspace(root, profile, overrides or ())


def print_json(value: Any) -> None:
    """Prints `value` as indented JSON."""
    typer.echo(json.dumps(value, indent=1))
