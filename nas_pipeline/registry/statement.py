"""Reads mlflow/model_card.yaml: the part of a model card that is stated by people and not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

import nas_pipeline
from nas_pipeline.core.records import DatasetManifest
from nas_pipeline.errors import ConfigError

FILE = "mlflow/model_card.yaml"
_NOT_STATED = "not stated"


class Statement(BaseModel):
    """The stated fields of a model card; the default of a field is `not stated`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    owner: str = _NOT_STATED
    contact: str = _NOT_STATED
    intended_use: str = _NOT_STATED
    out_of_scope: str = _NOT_STATED
    model_licence: str = _NOT_STATED
    data_licence: dict[str, str] = {}
    limits: list[str] = []

    def licence_of(self, dataset: DatasetManifest) -> str:
        """Returns the licence of a data set: the one stated under its name, else the one that its source declares."""
        source = dataset.notes.get("source")
        of_source = source.get("licence") if isinstance(source, dict) else None
        return self.data_licence.get(dataset.name) or str(of_source or _NOT_STATED)


def read_statement(root: Path) -> Statement:
    """Returns the statement of the project at `root` or of a folder above it, else of this code, else an empty one.

    Raises:
        ConfigError: The file is not valid YAML, or has an unknown key.
    """
    root = root.resolve()
    folders = (root, *root.parents, Path(nas_pipeline.__file__).resolve().parents[1])
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        return Statement()
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Statement.model_validate(value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path} is not a statement for a model card: {lines}; the keys are: "
                          f"{', '.join(Statement.model_fields)}") from None
