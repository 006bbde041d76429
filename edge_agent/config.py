"""What a device is told once, when it is set up: config.json, its key, and the first root of trust."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner, Key, Signer

from edge_agent.contract import wire
from edge_agent.errors import SetupError
from edge_agent.fetch import Source, source_of
from edge_agent.state import sync, write_atomic
from edge_agent.updates import seconds


@dataclass(frozen=True, slots=True)
class Config:
    """config.json; a change takes effect at the next start."""

    device: str
    target: str
    model: str
    url: str
    """Of the repository, http(s) or a folder."""
    key: dict[str, Any]
    """keyid, and the public key as TUF writes it."""
    report: str = ""
    """Where signed reports go: http(s), a folder, or nowhere."""
    hardware: tuple[str, ...] = ()
    issued: str = ""
    """From the floor file: nothing issued before it is looked at, also when the state is wiped."""
    counter: int = 0
    """From the floor file: no release below it is installed."""
    poll_s: float = 3600
    heartbeat_h: float = 24
    max_mb: float = 512
    """Of a model file."""
    min_speed: float = 1024
    """Bytes per second; what is slower over `window_s` seconds is cut off and taken up again later."""
    window_s: float = 20

    def source(self, url: str) -> Source:
        """What reads from `url`."""
        return source_of(url, self.min_speed, self.window_s)


def read(state: Path) -> Config:
    """The configuration of a set-up device.

    Raises:
        SetupError: It is not set up, or the file makes no sense.
    """
    path = state / "config.json"
    try:
        value = json.loads(path.read_bytes())
        value["hardware"] = tuple(value["hardware"])
        return Config(**value)
    except FileNotFoundError as error:
        raise SetupError(f"{path} is not there: set the device up with `nas-agent init`") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SetupError(f"{path} cannot be used: {error}; mend it, or run `nas-agent init` again") from error


def init(state: Path, root: Path, floor: Path | None, **told: Any) -> Config:
    """Set a device up, or set it up anew: its key, its memory and its model stay where they are there.

    Raises:
        SetupError: A name, the root or the floor file makes no sense.
        OSError: The state folder cannot be written.
    """
    try:
        for kind in ("device", "target", "model"):
            wire.check_name(kind, told[kind])
        lowest = json.loads(floor.read_bytes()) if floor else {}
        trusted = root.read_bytes()
        if json.loads(trusted)["signed"]["_type"] != "root":
            raise ValueError(f"{root} is no root.json")
        told["issued"], told["counter"] = str(lowest.get("issued", "")), int(lowest.get("counter", 0))
        if told["issued"]:
            seconds(told["issued"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"nothing was set up: {error}") from error
    (state / "keys").mkdir(parents=True, exist_ok=True)
    told["url"], told["report"] = (_absolute(told[name]) for name in ("url", "report"))
    config = Config(**told, key=_key(state))
    write_atomic(state / "root.json", trusted)
    write_atomic(state / "config.json", json.dumps(asdict(config), indent=1).encode())
    return config


def signer(state: Path, config: Config) -> Signer:
    """What signs this device's reports.

    Raises:
        SetupError: The key is gone, or another one.
    """
    try:
        public = Key.from_dict(config.key["keyid"], dict(config.key["key"]))
        return Signer.from_priv_key_uri(f"file2:{state / 'keys/device.pem'}", public)
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"the device's key cannot be used: {error}; `nas-agent init` and enrol it anew") from error


def runtime() -> str:
    """Version of ONNX Runtime, without loading it; empty: none."""
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-jetson"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _key(state: Path) -> dict[str, Any]:
    path, public = state / "keys/device.pem", state / "keys/device.json"
    if not (path.exists() and public.exists()):
        fresh = CryptoSigner.generate_ed25519()
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(fresh.private_bytes)
        sync(path)
        write_atomic(public, json.dumps({"keyid": fresh.public_key.keyid, "key": fresh.public_key.to_dict()}).encode())
    found: dict[str, Any] = json.loads(public.read_bytes())
    return found


def _absolute(url: str) -> str:
    web = url.startswith(("http://", "https://")) or not url
    return url.rstrip("/") if web else str(Path(url.removeprefix("file://")).resolve())
