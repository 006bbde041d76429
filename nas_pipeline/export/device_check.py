"""The static check of the device, applied to every file before it ships.

A device refuses a file with an operator or a size outside `edge_agent.contract.model_limits`. The export runs the same
check, so that the refusal comes while the network can still be changed. Two places call it: `graph.save`, which writes
every exported file in every precision, and `write_bundle`, which also covers files of another origin.

The limit of the size is the default of a device (`max_mb`); a device can be configured with a smaller one.
"""

from __future__ import annotations

from edge_agent.contract.model_check import UnsafeModelError, check_content
from edge_agent.contract.model_limits import MAX_FILE_BYTES, MAX_OPSET
from nas_pipeline.errors import ExportError


def check_device_accepts(content: bytes, name: str) -> None:
    """Checks that devices accept a model file.

    Args:
        content: Content of the ONNX file.
        name: What the error message calls the file.

    Raises:
        ExportError: Devices would refuse the file. The message names the operator or the limit, and the remedy.
    """
    try:
        check_content(content, max_bytes=MAX_FILE_BYTES, max_opset=MAX_OPSET)
    except UnsafeModelError as error:
        raise ExportError(
            f"every device would refuse {name}: {error}; build the network from operations that export to the "
            f"operators in edge_agent/contract/model_limits.py (for example slices instead of chunk or split), and "
            f"within the limits there"
        ) from error
