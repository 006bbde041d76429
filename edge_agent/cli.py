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
    """Run the command line; the exit code: 0, 2 set-up, 3 not reached, 4 refused or failed, 5 disk."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("bench", "serve"):  # their arguments are their own
        status: int = importlib.import_module(f"edge_agent.{words[0]}").main(words[1:]) or 0
        return status
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning there
    told = _parser().parse_args(words)
    try:
        return _do(told)
    except SetupError as error:
        return _end(str(error), 2)
    except AgentError as error:
        return _end(f"{error.code}: {error}", 4)
    except OSError as error:
        return _end(f"the state folder {told.state} cannot be used: {error}; see its owner, its mount and its space", 5)


def _do(told: argparse.Namespace) -> int:
    if told.command == "init":
        made = config.init(told.state, told.root, told.floor, device=told.device, target=told.target,
                           model=told.model, url=told.url, report=told.report, hardware=tuple(told.hardware))
        return _say(json.dumps({"device": made.device, "target": made.target, **made.key}))
    agent = Agent(told.state)
    if told.command == "run":
        agent.run()
    if told.command == "status":
        return _status(agent, told.json)
    outcome = agent.once(str(told.folder.resolve()) if told.command == "install-usb" else "")
    if outcome.status:
        return _end(f"{outcome.event}, {outcome.code}: {outcome.detail}", outcome.status)
    return _say(outcome.detail)


def _status(agent: Agent, as_json: bool) -> int:
    state, current = agent.state(), Slots(agent.folder).current()
    told, waiting = agent.told, len(list((agent.folder / "outbox").glob("*.json")))
    found = {
        "device": told.device, "target": told.target, "model": told.model, "agent": __version__,
        "runtime": config.runtime(), "version": current.release.version if current else "",
        "sha256": current.card.sha256 if current else "", "counter": state.counter, "phase": state.phase,
        "work": state.work, "quarantine": state.quarantine, "floor": state.floor, "refusal": state.refusal,
        "reports_waiting": waiting,
    }
    if as_json:
        return _say(json.dumps(found))
    return _say("\n".join(f"{name:16} {value if value else '-'}" for name, value in found.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("nas-agent", description="One signed model, and always a working one.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state", type=Path, default=FOLDER, help="folder of the agent (%(default)s)")
    add = commands.add_parser("init", parents=[common], help="set a device up; prints its public key, to enrol it")
    for name in ("device", "target", "model", "url"):
        add.add_argument(f"--{name}", required=True)
    add.add_argument("--root", type=Path, required=True, help="root.json of the fleet, by a way that you trust")
    add.add_argument("--report", default="", help="where signed reports go: URL or folder")
    add.add_argument("--hardware", nargs="+", default=[], help="what the device is, as the releases call it")
    add.add_argument("--floor", type=Path, help="floor file of the image: against a wiped state")
    commands.add_parser("once", parents=[common], help="look once")
    commands.add_parser("run", parents=[common], help="look for ever (systemd)")
    status = commands.add_parser("status", parents=[common], help="what is in use, and what stands in the way")
    status.add_argument("--json", action="store_true")
    usb = commands.add_parser("install-usb", parents=[common], help="look into a folder, with the same checks")
    usb.add_argument("folder", type=Path)
    commands.add_parser("bench", help="measure a model: nas-agent bench --help", add_help=False)
    commands.add_parser("serve", help="answer requests: nas-agent serve --help", add_help=False)
    return parser


def _say(text: str) -> int:
    sys.stdout.write(text + "\n")
    return 0


def _end(text: str, status: int) -> int:
    sys.stderr.write(f"nas-agent: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
