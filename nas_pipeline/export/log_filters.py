"""Log filters for other libraries: their warnings, log records and prints become DEBUG records of this module's logger.

Each filter is a context manager around one call of one library; it changes nothing for the rest of the process.
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
    """Drops the records of the exporter about operators of torchvision, which is not used."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for these records only."""
        return not record.getMessage().startswith(_TORCHVISION_ABSENT)


class _FromQuantizer(logging.Filter):
    """Redirects the records that the quantiser sends to the root logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for records of the quantiser, which are logged at level DEBUG instead."""
        if not any(folder in record.pathname for folder in _QUANTIZER_FOLDERS):
            return True
        logger.debug("onnxruntime: %s", record.getMessage())
        return False


@contextlib.contextmanager
def _recorded_warnings(source: str) -> Iterator[None]:
    """Log the warnings of the block at level DEBUG, even if the process turns warnings into errors."""
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
    """Filter the log of `torch.onnx.export`, which warns about its internals and about the absence of torchvision.

    The libraries that simplify the graph log a dozen INFO records per network; only their warnings remain.
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
    """Filter the output of the quantiser of onnxruntime, which prints and logs through the root logger and its own.

    Its calls of `logging.warning` would install a handler in a process without handlers, so a handler that does nothing
    is installed during the block.
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
