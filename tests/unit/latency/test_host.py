"""The fingerprint of the measuring machine."""

from __future__ import annotations

import json
import platform

from nas_pipeline.latency.host import fingerprint


def test_the_identity_does_not_depend_on_the_moment():
    first, second = fingerprint(), fingerprint()
    assert first["id"] == second["id"]
    assert len(first["id"]) == 12
    assert {"cpu", "cores", "governor", "os", "python", "onnxruntime", "load_average"} <= set(first)
    json.dumps(first, allow_nan=False)


def test_no_host_name_is_told():
    name = platform.node()
    assert not name or name not in {str(value) for value in fingerprint().values()}
