"""An MLflow server that is slow or responds 500: reported in time; the next publication completes the run."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nas_pipeline.errors import TrackingUnavailable
from nas_pipeline.registry.publish import publish
from nas_pipeline.registry.tags import ROLE, RUN_KEY

Start = Callable[[float], str]


@pytest.fixture
def server() -> Iterator[Start]:
    """Starts a server that responds 500 after a number of seconds and returns its address."""
    over = threading.Event()
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(after_s: float) -> str:
        class Broken(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                over.wait(after_s)
                self.send_response(500)
                self.end_headers()
                self.wfile.write(b"out of order")

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None: ...

        servers.append(server := http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    over.set()
    for running in servers:
        running.shutdown()
        running.server_close()


@pytest.mark.parametrize("after_s", [0.0, 60.0], ids=["500", "slow"])
def test_the_error_is_transient_and_the_next_publication_succeeds(
    server: Start, workspace: Path, store: str, monkeypatch: pytest.MonkeyPatch, after_s: float
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    key, uri = f"toy-set-bad-{after_s:.0f}", server(after_s)
    begun = time.monotonic()
    with pytest.raises(TrackingUnavailable, match=rf"MLflow at {uri}.*nothing is lost: `nas publish`"):
        publish(workspace, run_key=key, tags={}, tracking_uri=uri)
    assert time.monotonic() - begun < 30
    first = publish(workspace, run_key=key, tags={}, tracking_uri=store, targets=["local-cpu"])
    again = publish(workspace, run_key=key, tags={}, tracking_uri=store, targets=["local-cpu"])
    assert (first.created, again.created) == (True, False)
    wanted = f"tags.`{RUN_KEY}` = '{key}' and tags.`{ROLE}` = 'pipeline'"
    assert len(MlflowClient(store).search_runs([first.experiment_id], wanted)) == 1
