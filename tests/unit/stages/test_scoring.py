"""What is recorded of each file in the one reading of the test split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_pipeline.core.files import sha256_file
from nas_pipeline.data.corruptions import CORRUPTIONS
from nas_pipeline.data.loaders import load_calib, load_manifest, load_val, normalise
from nas_pipeline.stages.scoring import FileScores, export_candidates


@pytest.mark.slow
def test_every_file_is_asked_and_only_those_that_ship_see_worse_pictures(ingested: Path, tmp_path: Path) -> None:
    manifest, val = load_manifest(ingested), load_val(ingested)  # in place of the test split, which stays closed
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)).eval()
    calib = normalise(load_calib(ingested).images, manifest)
    scores = FileScores(manifest, [20], calib, "minmax")
    said = scores(net, val, True)
    assert {entry["precision"] for entry in said.values()} == {"fp32", "int8"}
    assert set(said) == set(scores.predictions)
    for sha256, entry in said.items():
        recorded = scores.predictions[sha256]
        assert entry["accuracy"] == recorded.correct.mean()
        assert set(recorded.corrupted) == set(CORRUPTIONS)
        assert all(len(answers) == len(val) for answers in recorded.corrupted.values())
    again = export_candidates(net, manifest.spec, 20, calib, "minmax", tmp_path)
    assert {sha256_file(path) for path in again.values()} == set(said)
    with torch.inference_mode():
        logits = net(torch.from_numpy(normalise(val.images, manifest)))
    fp32 = scores.predictions[sha256_file(again["fp32"])]
    assert (fp32.predicted == logits.argmax(1).numpy()).all()
    assert np.allclose(fp32.confidence, logits.softmax(1).amax(1).numpy(), atol=1e-5)
    aside = FileScores(manifest, [20], calib, "minmax")
    aside(net, val, False)
    assert all(not recorded.corrupted for recorded in aside.predictions.values())
