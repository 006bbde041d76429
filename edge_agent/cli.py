"""The command `nas-agent`."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent import __version__, config
from edge_agent.agent import Agent
from edge_agent.errors import AgentError, SetupError
from edge_agent.slots import Slots

FOLDER = Path("/var/lib/nas-agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line. Exit codes: 0 success, 2 not set up, 3 unreachable, 4 refused or failed, 5 disk."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("bench", "serve"):  # they parse their own arguments
        status: int = importlib.import_module(f"edge_agent.{words[0]}").main(words[1:]) or 0
        return status
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # urllib3 logs each retry as a warning
    options = _parser().parse_args(words)
    try:
        return _run(options)
    except SetupError as error:
        return _end(str(error), 2)
    except AgentError as error:
        return _end(f"{error.code}: {error}", 4)
    except OSError as error:
        return _end(f"{options.state} cannot be used: {error}; check its owner, mount and free space", 5)


def _run(options: argparse.Namespace) -> int:
    if options.command == "init":
        settings = config.init(
            options.state, options.root, options.floor, device=options.device, target=options.target,
            model=options.model, url=options.url, report=options.report, hardware=tuple(options.hardware))
        return _print(json.dumps({"device": settings.device, "target": settings.target, **settings.key}))
    agent = Agent(options.state)
    if options.command == "run":
        agent.run()
    if options.command == "status":
        return _status(agent, options.json)
    outcome = agent.once(str(options.folder.resolve()) if options.command == "install-usb" else "")
    if outcome.status:
        return _end(f"{outcome.event}, {outcome.code}: {outcome.detail}", outcome.status)
    return _print(outcome.detail)


def _status(agent: Agent, as_json: bool) -> int:
    state, current = agent.state(), Slots(agent.folder).current()
    settings, waiting = agent.settings, len(list((agent.folder / "outbox").glob("*.json")))
    status = {
        "device": settings.device, "target": settings.target, "model": settings.model, "agent": __version__,
        "runtime": config.runtime(), "version": current.release.version if current else "",
        "sha256": current.card.sha256 if current else "", "counter": state.counter, "phase": state.phase,
        "work": state.work, "quarantine": state.quarantine, "floor": state.floor, "refusal": state.refusal,
        "reports_waiting": waiting,
    }
    if as_json:
        return _print(json.dumps(status))
    return _print("\n".join(f"{name:16} {value if value else '-'}" for name, value in status.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("nas-agent", description="Install, try and serve signed models on a device.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--state", type=Path, default=FOLDER, help="state folder of the agent (%(default)s)")
    add = commands.add_parser("init", parents=[shared], help="set a device up and print its public key for enrolment")
    for name in ("device", "target", "model", "url"):
        add.add_argument(f"--{name}", required=True)
    add.add_argument("--root", type=Path, required=True, help="1.root.json of the fleet, from a trusted source")
    add.add_argument("--report", default="", help="receiver of signed reports: URL or folder")
    add.add_argument("--hardware", nargs="+", default=[], help="hardware tags of the device, as in the releases")
    add.add_argument("--floor", type=Path, help="floor file of the image")
    commands.add_parser("once", parents=[shared], help="check the repository once")
    commands.add_parser("run", parents=[shared], help="check the repository in a loop (systemd)")
    status = commands.add_parser("status", parents=[shared], help="show the release in use and the installation")
    status.add_argument("--json", action="store_true")
    usb = commands.add_parser("install-usb", parents=[shared], help="check a repository in a folder")
    usb.add_argument("folder", type=Path)
    commands.add_parser("bench", help="measure the latency of a model: nas-agent bench --help", add_help=False)
    commands.add_parser("serve", help="serve the model in use over HTTP: nas-agent serve --help", add_help=False)
    return parser


def _print(text: str) -> int:
    sys.stdout.write(text + "\n")
    return 0


def _end(text: str, status: int) -> int:
    sys.stderr.write(f"nas-agent: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
