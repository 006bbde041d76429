"""Takes reports over HTTP: POST /reports, GET /health, and nothing else. A device's key is all that it needs.

There are no tokens: what counts is the signature, so whoever can reach the port can add only what an enrolled device
signed. Loopback by default; a proxy in front of it does TLS (docs/rollout.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from nas_pipeline.fleet.reports.intake import Answer
from nas_pipeline.fleet.reports.signed import MAX_BYTES

_STATUS = {"taken": 202, "known": 202, "too_large": 413, "not_an_envelope": 400, "not_a_report": 400, "replayed": 409}


def receiver(take: Callable[[bytes], Answer]) -> FastAPI:
    """The application; `take` is an intake's.

    Why a report is not taken is said in one word. An unknown device and a wrong signature get the same one: nobody
    learns which devices there are.
    """
    app = FastAPI(title="reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/reports")
    async def reports(request: Request) -> Response:
        content = await _body(request)
        if content is None:
            return _answer(413, "too_large")
        answer = await run_in_threadpool(take, content)
        status = _STATUS.get(answer.reason, 403)
        return _answer(status, "refused" if status == 403 else answer.reason)

    @app.get("/health")
    async def health() -> Response:
        return _answer(200, "ok")

    return app


def server(take: Callable[[bytes], Answer], host: str, port: int) -> uvicorn.Server:
    """The HTTP server of it; `run()` serves until Ctrl-C or SIGTERM."""
    return uvicorn.Server(uvicorn.Config(
        receiver(take), host=host, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=5, limit_concurrency=200, h11_max_incomplete_event_size=16_384, lifespan="off",
    ))


async def _body(request: Request) -> bytes | None:
    """All of it, unless it is too long: then no more is read than the bound."""
    if int(request.headers.get("content-length") or 0) > MAX_BYTES:  # the server has seen that it is a number
        return None
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            return None
    return bytes(content)


def _answer(status: int, word: str) -> Response:
    return Response(json.dumps({"answer": word}), status, media_type="application/json")
