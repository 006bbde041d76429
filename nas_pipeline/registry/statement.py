"""mlflow/model_card.yaml: what people state on a model card, as against what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

import nas_pipeline
from nas_pipeline.core.records import DatasetManifest
from nas_pipeline.errors import ConfigError

FILE = "mlflow/model_card.yaml"
_UNSAID = "not stated"


class Statement(BaseModel):
    """Words for the card; a field that nobody filled says so."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    owner: str = _UNSAID
    contact: str = _UNSAID
    intended_use: str = _UNSAID
    out_of_scope: str = _UNSAID
    model_licence: str = _UNSAID
    data_licence: dict[str, str] = {}
    limits: list[str] = []

    def licence_of(self, dataset: DatasetManifest) -> str:
        """Licence of a data set: what is stated under its name, else what its source said of itself."""
        source = dataset.notes.get("source")
        of_source = source.get("licence") if isinstance(source, dict) else None
        return self.data_licence.get(dataset.name) or str(of_source or _UNSAID)


def read_statement(root: Path) -> Statement:
    """The statement of the project at `root` or of a folder above it; else that beside this code; else an empty one.

    Raises:
        ConfigError: The file is not YAML, or has an unknown key.
    """
    root = root.resolve()
    places = (root, *root.parents, Path(nas_pipeline.__file__).resolve().parents[1])
    path = next((place / FILE for place in places if (place / FILE).is_file()), None)
    if path is None:
        return Statement()
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Statement.model_validate(value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path} is no statement for a model card: {told}; it has: "
                          f"{', '.join(Statement.model_fields)}") from None
