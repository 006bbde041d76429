"""Lists the labels of val and calib, on which the winner was not trained, that its predictions contradict."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas_pipeline.core.files import write_json, write_text
from nas_pipeline.data.label_docs import render_labels
from nas_pipeline.data.label_noise import doubtful
from nas_pipeline.data.loaders import load_calib, load_manifest, load_val, normalise
from nas_pipeline.data.table import read_table

logger = logging.getLogger(__name__)

_BATCH = 256


def write_doubts(net: nn.Module, data: Path, out: Path) -> int:
    """Writes `out`/label_candidates.json and `out`/label_candidates.html; returns the number of doubtful labels.

    The test split is not read, and on training images a network has memorised the labels. To examine other images,
    change data.seed.

    Args:
        net: The network that ships, on the CPU.
        data: Folder of the ingested data.
        out: The stage's folder.
    """
    manifest = load_manifest(data)
    table = read_table(data / "manifest.parquet")
    parts = {"val": load_val(data), "calib": load_calib(data)}
    images = np.concatenate([split.images for split in parts.values()])
    labels = np.concatenate([split.labels for split in parts.values()])
    names = [name for split in parts for name in table.loc[table["split"] == split, "id"]]
    doubts = doubtful(labels, _probabilities(net, normalise(images, manifest)))
    rows = [
        {**doubt.to_json(), "id": names[doubt.row], "given": manifest.class_names[doubt.label],
         "likely": manifest.class_names[doubt.likely]}
        for doubt in doubts
    ]
    write_json(out / "label_candidates.json", {"judged": len(labels), "splits": list(parts), "candidates": rows})
    page = render_labels(manifest.name, rows, [images[doubt.row] for doubt in doubts], judged=len(labels),
                         splits=list(parts))
    write_text(out / "label_candidates.html", page)
    logger.info("%d of %d labels in val and calib are doubtful: %s", len(rows), len(labels),
                out / "label_candidates.html")
    return len(rows)


@torch.no_grad()
def _probabilities(net: nn.Module, images: np.ndarray) -> np.ndarray:
    """Returns softmax probabilities [N, classes] of normalised images [N, C, H, W]."""
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    probabilities = torch.cat([net(torch.from_numpy(batch)).softmax(1) for batch in batches]).double()
    return np.asarray(probabilities.numpy())
