"""Export: one file, any batch size, equal bytes, and no metadata of the machine."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nas_pipeline.core.files import sha256_file
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import ExportError
from nas_pipeline.export import graph
from nas_pipeline.export.onnx_file import export_onnx
from nas_pipeline.export.session import INPUT, OUTPUT, open_session, predict

SPEC = InputSpec(channels=1, height=8, width=8, classes=10)


def test_it_is_one_file_with_named_ends_and_an_open_batch(shipped):
    assert sorted(path.name for path in shipped.fp32.parent.iterdir()) == ["fp32.onnx", "int8.onnx"]
    for path in (shipped.fp32, shipped.int8):
        model = onnx.load(path, load_external_data=False)
        graph.check(model)
        assert [value.name for value in model.graph.input] == [INPUT]
        assert [value.name for value in model.graph.output] == [OUTPUT]
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:] == [1, 8, 8]


@pytest.mark.parametrize("batch", [1, 3, 65])
def test_any_batch_gives_the_networks_logits(shipped, digits, batch):
    images = digits.val[:batch]
    with torch.inference_mode():
        expected = shipped.net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(predict(open_session(shipped.fp32), images, batch=batch), expected, atol=1e-5)


def test_equal_networks_give_equal_bytes_however_they_were_laid_out(plain, trained, tmp_path):
    variant = copy.deepcopy(trained).to(memory_format=torch.channels_last).train()
    export_onnx(variant, SPEC, tmp_path / "again.onnx", opset=20)
    assert sha256_file(tmp_path / "again.onnx") == sha256_file(plain.fp32)
    assert variant.training


def test_nothing_of_the_machine_is_in_the_file(shipped):
    here = [str(Path(torch.__file__).parent), str(Path(__file__).parent), str(Path.home()), sys.prefix]
    for path in (shipped.fp32, shipped.int8):
        content = path.read_bytes()
        for trace in (*here, ".py", "Mirrored", "torch.nn"):
            assert trace.encode() not in content, trace


def test_the_exporter_neither_warns_nor_prints_nor_logs(trained, tmp_path, capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        export_onnx(trained, SPEC, tmp_path / "net.onnx", opset=18)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 18


class ComputesWithTheBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = torch.cat([x, x]).flatten(1).chunk(2)
        return first + second


class DependsOnData(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum() > 0 else x.flatten(1) * 2


@pytest.mark.parametrize(("net", "message"), [(ComputesWithTheBatch(), "batch"), (DependsOnData(), "DependsOnData")])
def test_what_cannot_ship_is_refused_and_leaves_no_file(net, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export_onnx(net, SPEC, tmp_path / "net.onnx", opset=20)
    assert list(tmp_path.iterdir()) == []
