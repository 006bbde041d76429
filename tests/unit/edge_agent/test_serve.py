from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_agent.contract.wire import Golden
from edge_agent.errors import AgentError
from edge_agent.serve import Serving, create_server
from edge_agent.slots import Slots, describe
from tests.security.model_files import IMAGES, array, card, content_of, golden, linear, release

REPO = Path(__file__).parents[3]
GOOD = content_of(linear())
SPARE = content_of(linear(weights=[array("unused", np.float32(1))]))
BROKEN = content_of(linear(more=[onnx.helper.make_node("Add", ["scores", "nowhere"], ["end"])], last="end"))
FAILS = content_of(linear(more=[onnx.helper.make_node("Reshape", ["scores", "sizes"], ["end"])], last="end",
                          weights=[array("sizes", np.array([7, 15], np.int64))]))


def put(state: Path, counter: int, content: bytes) -> None:
    """Installs a release."""
    part = state / "part"
    part.write_bytes(content)
    Slots(state).fill(part, release(counter=counter), card(content, counter))
    Slots(state).flip()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    put(tmp_path, 1, GOOD)
    return tmp_path


@pytest.fixture
def url(state: Path) -> Iterator[str]:
    server = create_server(state, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    content = {"Content-Type": "application/octet-stream"} | {key.replace("_", "-"): value
                                                              for key, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, content), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def pixels() -> bytes:
    return Golden.bytes_of(golden(), "pixels")


def expected() -> list[str]:
    logits = np.frombuffer(golden().bytes_of("logits"), "<f4").reshape(IMAGES, -1)
    return ["abcde"[index] for index in logits.argmax(1)]


def test_answers_in_both_forms(url):
    status, answer = ask(f"{url}/predict", pixels())
    assert (status, answer["classes"], answer["counter"]) == (200, expected(), 1)
    assert all(0 < each <= 1 for each in answer["confidences"])
    text = json.dumps({"pixels": base64.b64encode(pixels()).decode()}).encode()
    assert ask(f"{url}/predict", text, Content_Type="application/json") == (status, answer)
    status, health = ask(f"{url}/health")
    assert (status, health["sha256"], health["model"]) == (200, answer["sha256"], "toy--toy")


def test_what_is_not_answered(url):
    assert ask(f"{url}/predict", pixels()[:-1])[0] == 400
    assert ask(f"{url}/predict", b"")[0] == 400
    for text in (b"{", b"[]", b'{"pixels": "%"}', b'{"pixels": 3}'):
        assert ask(f"{url}/predict", text, Content_Type="application/json")[0] == 400
    assert ask(f"{url}/predict", pixels(), Origin="http://web.page")[0] == 403
    assert ask(f"{url}/shell", b"x")[0] == 404
    assert ask(f"{url}/")[0] == 404
    assert ask(f"{url}/predict", b"", Content_Length=str(1 << 40))[0] == 413
    assert ask(f"{url}/predict", pixels())[0] == 200


def test_one_that_says_nothing_holds_up_nobody(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 64\r\n\r\nabc")
        assert ask(f"{url}/predict", pixels())[0] == 200


def test_a_change_of_the_model_loses_no_request(url, state):
    answers: list[tuple[int, int]] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            status, answer = ask(f"{url}/predict", pixels())
            answers.append((status, answer.get("counter", 0)))

    threads = [threading.Thread(target=client) for _ in range(3)]
    for each in threads:
        each.start()
    for counter in range(2, 8):
        time.sleep(0.1)
        put(state, counter, SPARE if counter % 2 == 0 else GOOD)
    time.sleep(0.2)
    over.set()
    for each in threads:
        each.join()
    assert {status for status, _ in answers} == {200}
    assert {1, 7} <= {counter for _, counter in answers}
    assert ask(f"{url}/health")[1]["counter"] == 7


def test_one_that_cannot_be_opened_gives_way(url, state):
    put(state, 2, BROKEN)
    assert ask(f"{url}/predict", pixels())[1]["counter"] == 1
    current = Slots(state).current()
    assert current is not None
    assert current.release.counter == 1


def test_one_that_fails_three_times_gives_way_within_the_third_request(url, state):
    put(state, 2, FAILS)
    assert ask(f"{url}/health")[0] == 503
    statuses = [ask(f"{url}/predict", pixels())[0] for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    assert ask(f"{url}/health")[1]["counter"] == 1


def test_two_bad_ones_do_not_take_turns_for_ever(tmp_path):
    put(tmp_path, 1, BROKEN)
    put(tmp_path, 2, FAILS)
    serving = Serving(tmp_path)
    for _ in range(5):
        with pytest.raises(AgentError, match=r"fails|no working model"):
            serving.predict(pixels())
    assert serving.current() is None
    put(tmp_path, 3, GOOD)
    assert serving.predict(pixels())["counter"] == 3


def test_one_that_ends_the_process_three_times_gives_way(state):
    put(state, 2, SPARE)
    for _ in range(3):
        current = Serving(state).current()  # the process then ends without settle()
        assert current is not None
        assert current[0].release.counter == 2
    current = Serving(state).current()
    assert current is not None
    assert current[0].release.counter == 1


def test_a_process_that_ends_in_order_counts_nothing_against_it(state):
    for _ in range(5):
        serving = Serving(state)
        assert serving.current() is not None
        serving.settle()


def test_without_a_model(tmp_path):
    serving = Serving(tmp_path)
    assert serving.current() is None
    shutil.rmtree(tmp_path)


def test_bench_of_two_models_that_take_turns(url):
    status, answer = ask(f"{url}/bench?threads=1&runs=30&warmup=2&sizes={len(GOOD)},{len(SPARE)}", GOOD + SPARE)
    assert status == 200
    assert [len(each["samples_ms"]) for each in answer["models"]] == [30, 30]
    assert [each["sha256"] for each in answer["models"]] == [card(GOOD).sha256, card(SPARE).sha256]
    assert answer["host"]["cores"] >= 1


@pytest.mark.parametrize(("query", "body", "status", "code"), [
    ("runs=30", b"no model", 422, "unsafe_model"), ("runs=30", BROKEN, 422, "crashed"),
    ("runs=0", GOOD, 422, "bad_release"), ("runs=x", GOOD, 400, None), ("sizes=1,2", GOOD, 400, None),
])
def test_bench_refuses(url, query, body, status, code):
    received, answer = ask(f"{url}/bench?{query}", body)
    assert (received, answer.get("code")) == (status, code)


def test_only_loopback(state):
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(ValueError, match="any-address"):
            create_server(state, host, 0)
    create_server(state, "0.0.0.0", 0, any_address=True).server_close()


def test_as_a_process_it_ends_in_order(state):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-P", "-c",
                                "import sys; from edge_agent.serve import main; sys.exit(main(sys.argv[1:]))",
                                "--state", str(state), "--port", str(port)], cwd=REPO, env={"PYTHONPATH": str(REPO)})
    try:
        for _ in range(100):
            try:
                assert ask(f"http://127.0.0.1:{port}/predict", pixels())[0] == 200
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert not (state / "serving.json").exists()
    assert json.loads((state / "drift.json").read_bytes())["images"] == IMAGES


def test_the_description_alone_may_change(state):
    """A new counter for the same file: nothing is downloaded."""
    serving = Serving(state)
    assert serving.predict(pixels())["counter"] == 1
    time.sleep(0.01)
    current = Slots(state).current()
    assert current is not None
    describe(current.folder, release(counter=9), card(GOOD, 9))
    assert serving.predict(pixels())["counter"] == 9
