"""Set-up of a device: config.json, the key of the device, and the first root of trust."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner, Key, Signer

from edge_agent.contract import wire
from edge_agent.contract.model_limits import MAX_FILE_BYTES
from edge_agent.disk import sync, write_atomic
from edge_agent.errors import SetupError
from edge_agent.updates import seconds


@dataclass(frozen=True, slots=True)
class Config:
    """Content of config.json; a change takes effect at the next start."""

    device: str
    target: str
    model: str
    url: str
    """The repository: an http(s) URL or a folder."""
    key: dict[str, Any]
    """keyid, and the public key in the format of TUF."""
    report: str = ""
    """Receiver of signed reports: an http(s) URL or a folder; empty: no reports."""
    hardware: tuple[str, ...] = ()
    """Hardware tags of the device; a release needs one of them."""
    issued: str = ""
    """From the floor file: metadata issued earlier is refused, also after the state was wiped."""
    counter: int = 0
    """From the floor file: no release with a lower counter is installed."""
    poll_s: float = 3600
    heartbeat_h: float = 24
    max_mb: float = MAX_FILE_BYTES / 2**20
    """Largest size of a model file, in MiB."""
    min_speed: float = 1024
    """Bytes per second; a download that is slower over `window_s` seconds is interrupted and resumed later."""
    window_s: float = 20


def read(state: Path) -> Config:
    """Reads config.json from a state folder.

    Raises:
        SetupError: The device is not set up, or the file is invalid.
    """
    path = state / "config.json"
    try:
        value = json.loads(path.read_bytes())
        value["hardware"] = tuple(value["hardware"])
        return Config(**value)
    except FileNotFoundError as error:
        raise SetupError(f"{path} does not exist: set the device up with `nas-agent init`") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SetupError(f"{path} is invalid: {error}; correct it, or run `nas-agent init` again") from error


def init(state: Path, root: Path, floor: Path | None, **settings: Any) -> Config:
    """Sets a device up. A device that was set up before keeps its key, its state and its model.

    Args:
        state: The state folder.
        root: The first root.json of the fleet.
        floor: The floor file: {"issued", "counter"}.
        settings: Fields of `Config`.

    Raises:
        SetupError: A name, the root or the floor file is invalid.
        OSError: The state folder cannot be written.
    """
    try:
        for kind in ("device", "target", "model"):
            wire.check_name(kind, settings[kind])
        lowest = json.loads(floor.read_bytes()) if floor else {}
        trusted = root.read_bytes()
        if json.loads(trusted)["signed"]["_type"] != "root":
            raise ValueError(f"{root} is not a root.json")
        settings["issued"], settings["counter"] = str(lowest.get("issued", "")), int(lowest.get("counter", 0))
        if settings["issued"]:
            seconds(settings["issued"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"the device was not set up: {error}") from error
    (state / "keys").mkdir(parents=True, exist_ok=True)
    settings["url"], settings["report"] = (_absolute(settings[name]) for name in ("url", "report"))
    config = Config(**settings, key=_key(state))
    write_atomic(state / "root.json", trusted)
    write_atomic(state / "config.json", json.dumps(asdict(config), indent=1).encode())
    return config


def signer(state: Path, config: Config) -> Signer:
    """Returns the signer of the reports of this device.

    Raises:
        SetupError: The key is missing, or does not match config.json.
    """
    try:
        public = Key.from_dict(config.key["keyid"], dict(config.key["key"]))
        return Signer.from_priv_key_uri(f"file2:{state / 'keys/device.pem'}", public)
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"the key cannot be used: {error}; run `nas-agent init` and enrol the device again") from error


def runtime() -> str:
    """Returns the version of ONNX Runtime without loading it; empty if it is not installed."""
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-jetson"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _key(state: Path) -> dict[str, Any]:
    path, public = state / "keys/device.pem", state / "keys/device.json"
    if not (path.exists() and public.exists()):
        new = CryptoSigner.generate_ed25519()
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(new.private_bytes)
        sync(path)
        write_atomic(public, json.dumps({"keyid": new.public_key.keyid, "key": new.public_key.to_dict()}).encode())
    public_key: dict[str, Any] = json.loads(public.read_bytes())
    return public_key


def _absolute(url: str) -> str:
    web = url.startswith(("http://", "https://")) or not url
    return url.rstrip("/") if web else str(Path(url.removeprefix("file://")).resolve())
