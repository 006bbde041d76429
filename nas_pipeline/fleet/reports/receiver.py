"""The HTTP receiver of reports: POST /reports and GET /health.

It uses no tokens. A report is authenticated by its signature, so a client that can reach the port can only add reports
that an enrolled device signed. The default address is loopback; use a proxy for TLS (docs/rollout.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from nas_pipeline.fleet.reports.intake import IntakeAnswer
from nas_pipeline.fleet.reports.signed import MAX_BYTES

_STATUS = {"taken": 202, "known": 202, "too_large": 413, "not_an_envelope": 400, "not_a_report": 400, "replayed": 409}


def receiver(accept: Callable[[bytes], IntakeAnswer]) -> FastAPI:
    """Returns the application.

    The response contains one code. An unknown device and a wrong signature get the same code, so that a client cannot
    find out which devices are enrolled.

    Args:
        accept: `Intake.accept`.
    """
    app = FastAPI(title="reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/reports")
    async def reports(request: Request) -> Response:
        content = await _body(request)
        if content is None:
            return _answer(413, "too_large")
        answer = await run_in_threadpool(accept, content)
        status = _STATUS.get(answer.reason, 403)
        return _answer(status, "refused" if status == 403 else answer.reason)

    @app.get("/health")
    async def health() -> Response:
        return _answer(200, "ok")

    return app


def server(accept: Callable[[bytes], IntakeAnswer], host: str, port: int) -> uvicorn.Server:
    """Returns the HTTP server of the receiver; `run()` serves until Ctrl-C or SIGTERM."""
    return uvicorn.Server(uvicorn.Config(
        receiver(accept), host=host, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=5, limit_concurrency=200, h11_max_incomplete_event_size=16_384, lifespan="off",
    ))


async def _body(request: Request) -> bytes | None:
    """The request body; None if it exceeds the bound. At most the bound is read."""
    if int(request.headers.get("content-length") or 0) > MAX_BYTES:  # the server has checked that it is a number
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            return None
    return bytes(content)


def _answer(status: int, code: str) -> Response:
    return Response(json.dumps({"answer": code}), status, media_type="application/json")
