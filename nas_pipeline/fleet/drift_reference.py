"""The reference that a release carries: what the shipped file said of the validation images, and how these look.

Made when a version is published, from that version's own bundle and data, and signed with it: what the workspace does
afterwards changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nas_pipeline.data.loaders import load_manifest, load_val
from nas_pipeline.errors import FleetError
from nas_pipeline.export.val_predictions import FILE, read_val_predictions
from nas_pipeline.fleet.drift import reference


def drift_reference(exported: Path, ingested: Path) -> dict[str, Any]:
    """Value of `Sheet.evidence["drift"]`.

    Args:
        exported: Folder of a target of the export stage, with val_predictions.npz.
        ingested: Folder of the data set, with val.npz.

    Raises:
        FleetError: The predictions are of other images.
        ExportError: There are no predictions.
        DataError: There are no validation images.
    """
    said, val = read_val_predictions(exported / FILE), load_val(ingested)
    if not np.array_equal(said.labels, val.labels):
        raise FleetError(f"{exported / FILE} is about other images than {ingested}: run the export stage again")
    classes = load_manifest(ingested).spec.classes
    return reference(said.predictions, said.confidence, val.images, classes).to_json()
