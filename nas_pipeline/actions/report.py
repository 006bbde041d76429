"""Writes the report of a run: collects the parameters, git state and comparable searches that the page shows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nas_pipeline.config.params import load_params
from nas_pipeline.config.workspace import WORK
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import NasError
from nas_pipeline.report.page import PageContext, write_page
from nas_pipeline.report.search_value import ComparedSearch

logger = logging.getLogger(__name__)


def write_report(root: Path) -> Path:
    """Writes reports/index.html in the workspace `root` and returns its path.

    Raises:
        OSError: The page cannot be written.
    """
    root = root.resolve()
    own = _search_of(root)
    rivals = _random_baseline(root)
    rivals += [rival for folder in _neighbours(root) if (rival := _rival(folder, own))] if own else []
    return write_page(root, PageContext(
        strategy=own["strategy"]["name"] if own else "the search", tags=_tags(root), compared=rivals,
    ))


def _random_baseline(root: Path) -> list[ComparedSearch]:
    """Returns the random search of equal cost that the search stage ran as a baseline."""
    path = root / "artifacts" / "search" / "random_baseline.json"
    trials = read_json(path) if path.is_file() else []
    return [ComparedSearch("of this run", "random", trials)] if trials else []


def _neighbours(root: Path) -> list[Path]:
    """Returns the other workspaces of the same repository, and the repository itself."""
    inside = root.parent.parts[-2:] == WORK.parts
    repo = root.parents[2] if inside else root
    work = repo / WORK
    folders = [repo, *(sorted(work.iterdir()) if work.is_dir() else [])]
    return [folder for folder in folders if folder != root]


def _rival(folder: Path, own: dict[str, Any]) -> ComparedSearch | None:
    """Returns the search in `folder` if it differs from `own` only in its strategy; else None."""
    settings = _search_of(folder)
    if settings is None or settings["strategy"] == own["strategy"]:
        return None
    if any(settings[key] != own[key] for key in own if key != "strategy"):
        return None
    trials = read_json(folder / "artifacts" / "search" / "trials.json")
    return ComparedSearch(f"run {folder.name}", settings["strategy"]["name"], trials)


def _search_of(folder: Path) -> dict[str, Any] | None:
    """Returns all settings that a search depends on, as plain data; None if the folder has no search."""
    artifacts = folder / "artifacts"
    if not (artifacts / "search" / "trials.json").is_file():
        return None
    try:
        params = load_params(folder)
        digest = read_json(artifacts / "ingest" / "dataset.json")["digest"]
    except (NasError, OSError, ValueError, KeyError) as error:
        logger.debug("no search to compare with in %s: %s", folder, error)
        return None
    search = params.search.model_dump(mode="json")
    bounds = {name: (target.latency_ms / target.host_factor, target.size_bytes)
              for name, target in params.targets.items()}
    return {**search, "dataset": digest, "train": params.train.model_dump(mode="json"), "bounds": bounds}


def _tags(root: Path) -> dict[str, str]:
    from nas_pipeline.registry.tags import provenance  # lazy: imports mlflow

    try:
        return provenance(root)
    except NasError as error:
        logger.debug("no provenance of %s: %s", root, error)
        return {}
