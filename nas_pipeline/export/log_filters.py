"""Keep other libraries' chatter out of ours: what they warn, log or print ends as DEBUG lines of our own logger.

Each muffler covers one call of one library and undoes itself; nothing is silenced for the rest of the process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

logger = logging.getLogger(__name__)

_TORCH_REGISTRATION = "torch.onnx._internal.exporter._registration"
_TORCHVISION_ABSENT = "torchvision is not installed"
_REWRITERS = ("onnxscript", "onnx_ir")
_QUANTIZER = "onnxruntime.quantization"
_QUANTIZER_FOLDERS = ("onnxruntime/quantization", "onnxruntime\\quantization")


class _NoTorchvision(logging.Filter):
    """Drops the exporter's lines about operators of a library we do not use."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for those lines only."""
        return not record.getMessage().startswith(_TORCHVISION_ABSENT)


class _FromQuantizer(logging.Filter):
    """Takes the records which the quantiser sends straight to the root logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for records of the quantiser: they were passed on as DEBUG."""
        if not any(folder in record.pathname for folder in _QUANTIZER_FOLDERS):
            return True
        logger.debug("onnxruntime: %s", record.getMessage())
        return False


@contextlib.contextmanager
def _recorded_warnings(source: str) -> Iterator[None]:
    """Warnings of the block become DEBUG lines, also where the process turns warnings into errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        logger.debug("%s: %s: %s", source, warning.category.__name__, warning.message)


@contextlib.contextmanager
def _at_least_warning(*loggers: logging.Logger) -> Iterator[None]:
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(max(item.level, logging.WARNING))
    try:
        yield
    finally:
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)


@contextlib.contextmanager
def exporter_log_filter() -> Iterator[None]:
    """Around `torch.onnx.export`: it warns about its own internals and about torchvision being absent.

    The libraries that simplify the graph write a dozen INFO lines per network; only their warnings are left.
    """
    registration, absent = logging.getLogger(_TORCH_REGISTRATION), _NoTorchvision()
    registration.addFilter(absent)
    try:
        with _at_least_warning(*map(logging.getLogger, _REWRITERS)), _recorded_warnings("torch.onnx"):
            yield
    finally:
        registration.removeFilter(absent)


@contextlib.contextmanager
def quantizer_log_filter() -> Iterator[None]:
    """Around onnxruntime's quantiser: it prints, and logs through the root logger and its own.

    Its `logging.warning(...)` calls would also install a handler in a process that has none: a handler that does
    nothing stands in for the time of the block.
    """
    root, root_filter, placeholder = logging.getLogger(), _FromQuantizer(), logging.NullHandler()
    own = logging.getLogger(_QUANTIZER)
    printed = io.StringIO()
    root.addFilter(root_filter)
    root.addHandler(placeholder)
    try:
        with _at_least_warning(own), _recorded_warnings("onnxruntime"), contextlib.redirect_stdout(printed):
            yield
    finally:
        root.removeHandler(placeholder)
        root.removeFilter(root_filter)
    for line in printed.getvalue().splitlines():
        logger.debug("onnxruntime: %s", line)
