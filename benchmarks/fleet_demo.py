"""From a verified candidate to twenty devices that serve it, and a bad release that is rolled back; on this machine.

    make fleet-demo                 # PROFILE=smoke takes the candidate of another workspace

Real keys, a real TUF repository behind HTTP on loopback, the product's receiver, and twenty agents as the processes
that a device would run. The user's registry and fleet stay as they are: the demo works on copies below .nas/fleet-demo.
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
from nas_pipeline.cli.devices import change_text
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
"""On a device's p95. The target's own bound is that of a machine which runs one device, not twenty."""
WAVES = (1000, 5000, wire.WHOLE)
REPO = Path(__file__).parents[1]
console = Console(highlight=False)


@dataclass(frozen=True)
class Device:
    """One device: the folder of its agent, and the port on which its model answers."""

    name: str
    state: Path
    port: int

    def agent(self, *arguments: str) -> str:
        """A command of the agent, as a process of its own; what it prints."""
        command = [sys.executable, "-m", "edge_agent.cli", *arguments, "--state", str(self.state)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False).stdout

    def asked(self, pixels: bytes) -> dict[str, object]:
        """What its model says to an image."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/predict", pixels,
                                         {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            said: dict[str, object] = json.load(answer)
        return said


def main() -> int:
    """Show it; the exit status is 0 only if everything went as told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_demo", description=__doc__)
    parser.add_argument("--profile", default="default", help="whose candidate")
    parser.add_argument("--target", default="local-cpu")
    options = parser.parse_args()
    root = open_workspace(REPO, options.profile)
    place = REPO / ".nas" / "fleet-demo"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    start = time.monotonic()
    try:
        with ExitStack() as stack:
            ok = show(root, options.target, place, stack, copy_registry(root, place))
    except NasError as error:
        console.print(f"[red]{error}[/]")
        console.print("The demo starts from a verified candidate: `make pipeline` makes one, PROFILE=smoke in minutes.")
        return error.exit_code
    console.print(f"{time.monotonic() - start:.0f} s in all; everything lies in {place.relative_to(REPO)}")
    return 0 if ok else 1


def show(root: Path, target: str, place: Path, stack: ExitStack, registry: str, number: int = DEVICES) -> bool:
    """The story; whether all of it went as it should."""
    start = time.monotonic()
    settings = FleetSettings(
        store=str(place / "store"), folder=place / "fleet", keys=place / "fleet/keys",
        target_names=(target,), waves=WAVES,
        rollout={"min_hours": 0.0, "min_reports": 1, "success_share": 1.0},
    )
    (place / "store").mkdir()
    repository = create_fleet(settings, who="demo").repository
    say(start, "A fleet is founded", f"{len(list(settings.keys.rglob('*.pem')))} keys, root takes 2 of 3 signatures")
    intake = Intake(place / "reports.db")
    stack.callback(intake.close)
    web, reports = stack.enter_context(website(place / "store")), stack.enter_context(receiver(intake))
    devices = [new_device(place, f"demo-{index:02d}") for index in range(number)]
    model = publish(repository, root, target, who="demo", why="the demo", latency_ms=BOUND_MS, tracking_uri=registry)
    rows = repository.release_list(target, model.model)
    say(start, "The candidate is signed", f"{model.model} version {model.version}, release {model.counter}: its seal "
        f"holds and its gates are green; first wave {model.share / 100:g} %")
    with ThreadPoolExecutor(2) as two:
        lines = two.map(lambda each: each.agent(
            "init", "--device", each.name, "--target", target, "--model", model.model, "--url", web,
            "--report", reports, "--hardware", target, "--root", str(settings.folder / "root.json")), devices)
        for line in lines:
            intake.enrol(parse_enrolment(line))
        say(start, f"{number} devices are set up and enrolled", "each has its own key; they trust root.json alone")
        rolled = roll_out(repository, intake, target, model.model, devices, two, start)
        stack.enter_context(served(devices))
        good = rows[0].sha256
        card = rows[0].card
        pixels = card.golden.bytes_of("pixels")[: card.channels * card.height * card.width]
        answers = [each.asked(pixels) for each in devices]
        classes = Counter(str(answer["classes"]) for answer in answers)
        serving = sum(answer["sha256"] == good for answer in answers)
        say(start, f"{serving} of {number} devices serve it", f"asked for the same image they answer {dict(classes)}")
        bad = publish_bad(repository, target, model.model, rows[0])
        say(start, "A bad release is signed", f"release {bad.release.counter}: its weights are no numbers; somebody "
            "published it past every gate")
        stopped = roll_out(repository, intake, target, model.model, devices, two, start)
        answers = [each.asked(pixels) for each in devices]
        still = sum(answer["sha256"] == good for answer in answers)
        now = repository.release_list(target, model.model)
        say(start, f"{still} of {number} devices serve the good model", f"release {now[0].release.counter} has its "
            f"digest {good[:12]}, under a higher counter, for every device")
    account(repository)
    say(start, "The fleet as a page", str(write_page(place / "fleet.html", repository, intake).name))
    return (isinstance(rolled, Finished) and isinstance(stopped, Stop | Finished) and serving == still == number
            and now[0].sha256 == good and now[0].whole)


def roll_out(
    repository: Repository, intake: Intake, target: str, model: str, devices: list[Device], two: ThreadPoolExecutor,
    start: float,
) -> object:
    """Let the devices look and the roll-out decide, until there is nothing more to decide."""
    for _ in range(12):
        list(two.map(lambda each: each.agent("once"), devices))
        step = advance(repository, intake, target, model)
        assert step is not None
        verdict = type(step.decision).__name__.lower()
        say(start, f"  release {step.release.release.counter}, {step.release.release.wave.share / 100:g} %: {verdict}",
            f"{step.decision.reason}{'; ' + change if (change := change_text(step)) else ''}")
        if isinstance(step.decision, Stop | Finished):
            list(two.map(lambda each: each.agent("once"), devices))
            return step.decision
    return None


def publish_bad(repository: Repository, target: str, model: str, good: ReleaseEntry) -> ReleaseEntry:
    """The good file with weights that are no numbers, signed with the right key and the good file's answers."""
    content = repository.store.read(f"targets/{target}/{model}/{good.sha256}.{good.sha256}.onnx")
    assert content is not None
    spoilt = onnx.load_from_string(content)
    for tensor in spoilt.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).copy()
            values[...] = float("nan")
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    content = spoilt.SerializeToString()
    sha256 = hashlib.sha256(content).hexdigest()
    with repository.edit(target, model) as edit:
        counter = next_counter(edit.release_list, edit.highest_counter)
        release = replace(good.release, counter=counter, wave=wire.Wave(sha256[:32], WAVES, 0),
                          version=f"{good.release.version}-bad")
        bad = ReleaseEntry(release, replace(good.card, counter=counter, onnx=wire.onnx_path(target, model, sha256)))
        edit.sign(added(edit.release_list, bad), edit.entry("published", bad, who="somebody", why=""),
                  files={bad.card.onnx: content})
    return bad


def copy_registry(root: Path, place: Path) -> str:
    """A copy of MLflow's database; its artefacts are read where they are."""
    found_at = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}").removeprefix("sqlite:///")
    if not Path(found_at).is_file():
        raise NasError(f"there is no registry at {found_at}")
    with sqlite3.connect(found_at) as old, sqlite3.connect(place / "mlflow.db") as new:
        old.backup(new)
    return f"sqlite:///{place / 'mlflow.db'}"


def new_device(place: Path, name: str) -> Device:
    """An empty folder and a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Device(name, place / "devices" / name, free.getsockname()[1])


@contextmanager
def website(folder: Path) -> Iterator[str]:
    """Any web server will do: the files are signed."""

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
    """The product's receiver of reports."""
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
    """`nas-agent serve` on each device, up and answering."""
    processes = [subprocess.Popen(
        [sys.executable, "-m", "edge_agent.cli", "serve", "--state", str(each.state), "--port", str(each.port)],
        cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in devices]
    try:
        for each in devices:
            until = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{each.port}/health", timeout=2).close()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def account(repository: Repository) -> None:
    """The journal, for people."""
    columns = ("when", "what", "release", "version", "share", "who", "why")
    table = Table(*columns, title="The journal", title_justify="left")
    for entry in repository.journal.entries():
        table.add_row(entry.when[11:19], entry.kind, str(entry.counter or ""), entry.version,
                      f"{entry.share / 100:g} %" if entry.share else "", entry.who, entry.why[:60])
    console.print(table)


def say(start: float, what: str, detail: str) -> None:
    """One line of the story."""
    console.print(f"[dim]{time.monotonic() - start:6.1f} s[/]  [bold]{what}[/]  {detail}")


if __name__ == "__main__":
    raise SystemExit(main())
