import json

import numpy as np
import torch
from torch import nn

from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.loaders import load_val
from nas_pipeline.stages.labels import write_doubts
from tests.unit.data.toy_data import FixedSource, raw


class ByBrightness(nn.Module):
    """Sure that bright images are of class 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean(dim=(1, 2, 3))
        return 100 * torch.stack([-bright, bright], dim=1)


def test_labels_that_the_network_doubts_are_named(tmp_path):
    stream = np.random.default_rng(0)
    labels = np.arange(300) % 2
    images = (150 * labels[:, None, None, None] + stream.integers(0, 90, (300, 8, 8, 1))).astype(np.uint8)
    labels[::20] = 1 - labels[::20]
    test = stream.integers(0, 256, (10, 8, 8, 1), dtype=np.uint8)
    source = FixedSource(raw(images, labels.tolist(), test, [0, 1] * 5))
    ingest(source, tmp_path / "in", val=100, calib=50, limit=None, seed=0)
    count = write_doubts(ByBrightness().eval(), tmp_path / "in", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "label_candidates.json").read_text())
    assert found["judged"] == 150
    assert len(found["candidates"]) == count > 3
    assert {int(row["id"].split("-")[1]) % 20 for row in found["candidates"]} == {0}
    assert all(row["given"] != row["likely"] for row in found["candidates"])
    page = (tmp_path / "out" / "label_candidates.html").read_text()
    assert f"{count} of 150 images" in page
    assert page.count("<img") == count
    first = found["candidates"][0]
    if first["row"] < 100:
        assert load_val(tmp_path / "in").labels[first["row"]] == int(first["given"][-1])
