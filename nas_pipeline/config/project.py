"""`nas init`: creates a project folder for a user's images, in which the pipeline runs as in the repository.

The proposed settings follow from statistics of the images; each is a line of params.yaml with its reason.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nas_pipeline.config.params import load_params
from nas_pipeline.core.files import write_text
from nas_pipeline.data.samples import dataset_name
from nas_pipeline.data.survey import Survey, survey
from nas_pipeline.errors import ConfigError

_REPOSITORY = Path(__file__).resolve().parents[2]
_INGEST_DEPS = "    cmd: nas run ingest\n    params: [data]\n    deps:\n"
_SMALL = 5000
"""Number of images below which trainings are short and batches small."""

_IGNORED = """# Files that the pipeline writes. Commit dvc.yaml, dvc.lock and params.yaml.
/artifacts/
/reports/
/fleet/
/nas_pipeline
/edge_agent
/requirements.lock
/.nas/
/.prefect/
/.dvc/cache/
/.dvc/tmp/
/mlruns/
mlflow.db*
"""

_DVC_CONFIG = """[core]
    no_scm = true
    analytics = false
    check_update = false
    autostage = false
"""

_TEMPLATE = Path(__file__).parent / "templates" / "params.yaml"
"""Text with `str.format` fields; braces of YAML are doubled."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project that is ready to run, and the statistics of its images."""

    folder: Path
    survey: Survey


def create_project(folder: Path, images: Path) -> Project:
    """Writes params.yaml, dvc.yaml, .dvc, .dvcignore, .gitignore and the links to the code into `folder`.

    The folder of images becomes a dependency of the ingest stage, so new images make it stale.

    Args:
        folder: A new folder, or one without project files.
        images: A folder with one sub-folder of images per class.

    Raises:
        ConfigError: The folder has a project already, cannot be written, or is inside the folder of images.
        DataError: The images are not laid out like that; nothing is written.
    """
    folder, images = folder.resolve(), images.resolve()
    if folder == images or images in folder.parents:
        raise ConfigError(f"{folder} is inside the folder of images; choose a folder outside of it")
    existing = [name for name in ("params.yaml", "dvc.yaml", "nas_pipeline", ".dvc") if os.path.lexists(folder / name)]
    if existing:
        raise ConfigError(f"{folder} has {', '.join(existing)} already; name a new folder, or change its params.yaml")
    if not (_REPOSITORY / "dvc.yaml").is_file():
        raise ConfigError(f"dvc.yaml is not beside the package in {_REPOSITORY}; install from a clone of the "
                          "repository (make setup)")
    statistics = survey(images)
    pipeline = (_REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert pipeline.count(_INGEST_DEPS) == 1, "dvc.yaml is generated in this form"
    texts = {
        "params.yaml": _params(statistics, images),
        "dvc.yaml": pipeline.replace(_INGEST_DEPS, f"{_INGEST_DEPS}      - {json.dumps(str(images))}\n"),
        ".dvcignore": (_REPOSITORY / ".dvcignore").read_text(encoding="utf-8"),
        ".dvc/config": _DVC_CONFIG,
        ".gitignore": _IGNORED,
    }
    try:
        for name, text in texts.items():
            write_text(folder / name, text)
        for name in ("nas_pipeline", "edge_agent", "requirements.lock"):
            (folder / name).symlink_to(_REPOSITORY / name)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
    load_params(folder)
    return Project(folder, statistics)


def _params(statistics: Survey, images: Path) -> str:
    classes, side = len(statistics.per_class), _side(statistics.short_side)
    small = statistics.images < _SMALL
    rarest = min(statistics.per_class.values())
    return _TEMPLATE.read_text(encoding="utf-8").format(
        images=f"{statistics.images:,}", classes=classes, path=json.dumps(str(images)),
        name=dataset_name(None, images.name),
        side=side, short_side=statistics.short_side, channels=3 if statistics.coloured else 1,
        own_test=": not used, for this folder has a test split of its own" if statistics.has_test else "",
        min_per_class=max(1, min(20, rarest // 20)), batch_size=32 if small else 128, shift=max(1, side // 16),
        cutout=side // 4, ema_decay=0.99 if small else 0.999, stem_strides="[2]" if side >= 48 else "[1]",
        candidate_s=5 if small else 24, trials=8 if small else 20, search_wall_s=75 if small else 600,
        finalist_s=12 if small else 80, retrain_s=20 if small else 600,
        min_accuracy=round(min(0.8, 1 / classes + 0.5), 2),
    )


def _side(short_side: int) -> int:
    """Returns the side that a small network can use: at most 64 pixels, in steps of 8, at most that of the files."""
    return min(64, max(16, short_side // 8 * 8))
