"""Demonstrates a roll-out to twenty devices on this machine, and the rollback of a broken release.

    make fleet-demo                 # PROFILE=smoke uses the candidate of another workspace

It uses real keys, a real TUF repository behind HTTP on the loopback interface, the product's receiver of reports, and
twenty agents as separate processes. The user's registry and fleet are not changed: the demo works on copies in
.nas/fleet-demo.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from edge_agent.contract import wire
from nas_pipeline.actions.rollout_text import change_text
from nas_pipeline.config.workspace import open_workspace
from nas_pipeline.errors import NasError
from nas_pipeline.fleet.reports.intake import Intake
from nas_pipeline.fleet.reports.receiver import server
from nas_pipeline.fleet.reports.signed import parse_enrolment
from nas_pipeline.fleet.rollout.advance import advance
from nas_pipeline.fleet.rollout.page import write_page
from nas_pipeline.fleet.rollout.state_machine import Finished, Stop
from nas_pipeline.fleet.tuf.create_fleet import create_fleet
from nas_pipeline.fleet.tuf.publish import publish
from nas_pipeline.fleet.tuf.releases import ReleaseEntry, added, next_counter
from nas_pipeline.fleet.tuf.repository import Repository
from nas_pipeline.fleet.tuf.settings import FleetSettings

DEVICES = 20
BOUND_MS = 50.0
"""Bound on the p95 latency of a device. The target's own bound assumes one device per machine, not twenty."""
WAVES = (1000, 5000, wire.WHOLE)
REPO = Path(__file__).parents[1]
console = Console(highlight=False)


@dataclass(frozen=True)
class Device:
    """One device: the folder of its agent, and the port of its model server."""

    name: str
    state: Path
    port: int

    def agent(self, *arguments: str) -> str:
        """Runs a command of the agent in a separate process; returns its standard output."""
        command = [sys.executable, "-m", "edge_agent.cli", *arguments, "--state", str(self.state)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False).stdout

    def predict(self, pixels: bytes) -> dict[str, object]:
        """Returns the prediction of the device's model for one image."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/predict", pixels,
                                         {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=10) as response:
            prediction: dict[str, object] = json.load(response)
        return prediction


def main() -> int:
    """Runs the demo; the exit status is 0 only if every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_demo", description=__doc__)
    parser.add_argument("--profile", default="default", help="profile of the workspace with the candidate")
    parser.add_argument("--target", default="local-cpu")
    options = parser.parse_args()
    root = open_workspace(REPO, options.profile)
    folder = REPO / ".nas" / "fleet-demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    try:
        with ExitStack() as stack:
            ok = show(root, options.target, folder, stack, copy_registry(root, folder))
    except NasError as error:
        console.print(f"[red]{error}[/]")
        console.print("The demo needs a verified candidate: run `make pipeline` (with PROFILE=smoke it takes minutes).")
        return error.exit_code
    console.print(f"{time.monotonic() - start:.0f} s in total; all files are in {folder.relative_to(REPO)}")
    return 0 if ok else 1


def show(root: Path, target: str, folder: Path, stack: ExitStack, registry: str, number: int = DEVICES) -> bool:
    """Runs all steps; returns whether each of them succeeded."""
    start = time.monotonic()
    settings = FleetSettings(
        store=str(folder / "store"), folder=folder / "fleet", keys=folder / "fleet/keys",
        target_names=(target,), waves=WAVES,
        rollout={"min_hours": 0.0, "min_reports": 1, "success_share": 1.0},
    )
    (folder / "store").mkdir()
    repository = create_fleet(settings, who="demo").repository
    say(start, "A fleet is created", f"{len(list(settings.keys.rglob('*.pem')))} keys, root needs 2 of 3 signatures")
    intake = Intake(folder / "reports.db")
    stack.callback(intake.close)
    web, reports = stack.enter_context(website(folder / "store")), stack.enter_context(receiver(intake))
    devices = [new_device(folder, f"demo-{index:02d}") for index in range(number)]
    model = publish(repository, root, target, who="demo", why="the demo", latency_ms=BOUND_MS, tracking_uri=registry)
    rows = repository.release_list(target, model.model)
    say(start, "The candidate is signed", f"{model.model} version {model.version}, release {model.counter}: its "
        f"files are unchanged and its gates are green; first wave {model.share / 100:g} %")
    with ThreadPoolExecutor(2) as pool:
        lines = pool.map(lambda device: device.agent(
            "init", "--device", device.name, "--target", target, "--model", model.model, "--url", web,
            "--report", reports, "--hardware", target, "--root", str(settings.folder / "root.json")), devices)
        for line in lines:
            intake.enrol(parse_enrolment(line))
        say(start, f"{number} devices are enrolled", "each has its own key; root.json is their root of trust")
        rolled = roll_out(repository, intake, target, model.model, devices, pool, start)
        stack.enter_context(served(devices))
        good = rows[0].sha256
        card = rows[0].card
        pixels = card.golden.bytes_of("pixels")[: card.channels * card.height * card.width]
        predictions = [device.predict(pixels) for device in devices]
        classes = Counter(str(prediction["classes"]) for prediction in predictions)
        serving = sum(prediction["sha256"] == good for prediction in predictions)
        say(start, f"{serving} of {number} devices serve it", f"predictions for one image: {dict(classes)}")
        bad = publish_bad(repository, target, model.model, rows[0])
        say(start, "A broken release is signed", f"release {bad.release.counter}: its weights are NaN; it was "
            "published without any gate")
        stopped = roll_out(repository, intake, target, model.model, devices, pool, start)
        predictions = [device.predict(pixels) for device in devices]
        still = sum(prediction["sha256"] == good for prediction in predictions)
        now = repository.release_list(target, model.model)
        say(start, f"{still} of {number} devices serve the good model", f"release {now[0].release.counter} has its "
            f"digest {good[:12]}, under a higher counter, for every device")
    account(repository)
    say(start, "The fleet as a page", str(write_page(folder / "fleet.html", repository, intake).name))
    return (isinstance(rolled, Finished) and isinstance(stopped, Stop | Finished) and serving == still == number
            and now[0].sha256 == good and now[0].whole)


def roll_out(
    repository: Repository, intake: Intake, target: str, model: str, devices: list[Device], pool: ThreadPoolExecutor,
    start: float,
) -> object:
    """Lets the devices update and the roll-out advance, until it is finished or stopped."""
    for _ in range(12):
        list(pool.map(lambda device: device.agent("once"), devices))
        step = advance(repository, intake, target, model)
        assert step is not None
        verdict = type(step.decision).__name__.lower()
        say(start, f"  release {step.release.release.counter}, {step.release.release.wave.share / 100:g} %: {verdict}",
            f"{step.decision.reason}{'; ' + change if (change := change_text(step)) else ''}")
        if isinstance(step.decision, Stop | Finished):
            list(pool.map(lambda device: device.agent("once"), devices))
            return step.decision
    return None


def publish_bad(repository: Repository, target: str, model: str, good: ReleaseEntry) -> ReleaseEntry:
    """Publishes the good file with NaN weights, signed with the valid key, with the golden vectors of the good file."""
    content = repository.store.read(f"targets/{target}/{model}/{good.sha256}.{good.sha256}.onnx")
    assert content is not None
    broken = onnx.load_from_string(content)
    for tensor in broken.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).copy()
            values[...] = float("nan")
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    content = broken.SerializeToString()
    sha256 = hashlib.sha256(content).hexdigest()
    with repository.edit(target, model) as edit:
        counter = next_counter(edit.release_list, edit.highest_counter)
        release = replace(good.release, counter=counter, wave=wire.Wave(sha256[:32], WAVES, 0),
                          version=f"{good.release.version}-bad")
        bad = ReleaseEntry(release, replace(good.card, counter=counter, onnx=wire.onnx_path(target, model, sha256)))
        edit.sign(added(edit.release_list, bad), edit.entry("published", bad, who="somebody", why=""),
                  files={bad.card.onnx: content})
    return bad


def copy_registry(root: Path, folder: Path) -> str:
    """Copies the database of MLflow; the artefacts are not copied."""
    database = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}").removeprefix("sqlite:///")
    if not Path(database).is_file():
        raise NasError(f"no registry exists at {database}")
    with sqlite3.connect(database) as old, sqlite3.connect(folder / "mlflow.db") as new:
        old.backup(new)
    return f"sqlite:///{folder / 'mlflow.db'}"


def new_device(folder: Path, name: str) -> Device:
    """Returns a device with an empty folder and a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Device(name, folder / "devices" / name, free.getsockname()[1])


@contextmanager
def website(folder: Path) -> Iterator[str]:
    """Serves a folder over HTTP; any web server is suitable, because the files are signed."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_address[1]}"
        finally:
            web.shutdown()
            thread.join()


@contextmanager
def receiver(intake: Intake) -> Iterator[str]:
    """Runs the product's receiver of reports; yields its URL."""
    port = new_device(Path(), "").port
    running = server(intake.accept, "127.0.0.1", port)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/reports"
    finally:
        running.should_exit = True
        thread.join()


@contextmanager
def served(devices: list[Device]) -> Iterator[None]:
    """Runs `nas-agent serve` on each device and waits until it responds."""
    processes = [subprocess.Popen(
        [sys.executable, "-m", "edge_agent.cli", "serve", "--state", str(device.state), "--port", str(device.port)],
        cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for device in devices]
    try:
        for device in devices:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{device.port}/health", timeout=2).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def account(repository: Repository) -> None:
    """Prints the journal."""
    columns = ("when", "what", "release", "version", "share", "who", "why")
    table = Table(*columns, title="The journal", title_justify="left")
    for entry in repository.journal.entries():
        table.add_row(entry.when[11:19], entry.kind, str(entry.counter or ""), entry.version,
                      f"{entry.share / 100:g} %" if entry.share else "", entry.who, entry.why[:60])
    console.print(table)


def say(start: float, what: str, detail: str) -> None:
    """Prints one step."""
    console.print(f"[dim]{time.monotonic() - start:6.1f} s[/]  [bold]{what}[/]  {detail}")


if __name__ == "__main__":
    raise SystemExit(main())
