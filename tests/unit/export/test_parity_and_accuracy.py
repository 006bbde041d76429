"""Parity of a file with its network, and accuracy of the file, on real digits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nas_pipeline.errors import ExportError
from nas_pipeline.export.parity import parity
from nas_pipeline.export.session import accuracy, open_session, predict


def test_an_fp32_file_is_its_network(shipped, digits):
    result = parity(shipped.net, shipped.fp32, digits.val)
    assert result.images == len(digits.val)
    assert result.top1_agreement == 1.0
    assert 0 < result.max_abs_error < 1e-4


def test_another_network_is_noticed(plain, trained, digits):
    changed = copy.deepcopy(trained)
    with torch.no_grad():
        changed[-1].weight.mul_(-1)
    result = parity(changed, plain.fp32, digits.val[:100])
    assert result.top1_agreement < 0.5
    assert result.max_abs_error > 1


def test_the_network_is_left_as_it_was(plain, trained, digits):
    trained[1].train()
    parity(trained, plain.fp32, digits.val[:5])
    assert trained[1].training
    assert not trained[0].training
    trained.eval()


def test_accuracy_is_that_of_the_file(plain, digits):
    logits = predict(open_session(plain.fp32), digits.val, batch=100)
    assert logits.dtype == np.float32
    assert accuracy(plain.fp32, digits.val, digits.val_labels) == np.mean(logits.argmax(1) == digits.val_labels)
    assert accuracy(plain.fp32, digits.val, digits.val_labels) > 0.85


def test_wrong_arrays_are_refused(plain, digits):
    with pytest.raises(ExportError, match="one label per image"):
        accuracy(plain.fp32, digits.val, digits.val_labels[:-1])
    with pytest.raises(ExportError, match="does not accept images"):
        predict(open_session(plain.fp32), np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ExportError, match="at least 1"):
        predict(open_session(plain.fp32), digits.val[:0])
