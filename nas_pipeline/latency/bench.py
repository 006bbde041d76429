"""Entry point `python -m nas_pipeline.latency.bench`: times models in a fresh process. JSON on stdin and stdout.

A fresh process is used because medians differ more between processes (memory layout, other load) than within one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from nas_pipeline.errors import LatencyError
from nas_pipeline.latency.timing import Request, bench


def main() -> int:
    """Read a request from stdin and write {"models": [...]}, or {"error": "..."} with exit status 1, to stdout."""
    try:
        fields = json.load(sys.stdin)
        answer: dict[str, Any] = {"models": [asdict(item) for item in bench(Request(**fields))]}
    except (LatencyError, ValueError, TypeError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    raise SystemExit(main())
