"""Where the signed files lie: a folder, or a bucket. A write is whole or did not happen."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ConfigError, FleetError, StorageError

_BAD_SEGMENTS = {"", ".", ".."}


class Store(Protocol):
    """Files by name; a name has `/` between its segments and nothing that leads elsewhere."""

    def read(self, name: str) -> bytes | None:
        """Its content; None where there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole, in place of one of the same name.

        Raises:
            StorageError: It could not be written; the one before is untouched.
        """

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def list(self, prefix: str) -> list[str]:
        """The names below `prefix`, sorted."""


def open_store(where: str) -> Store:
    """The store at a folder or at `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: Another kind of address, no bucket, or boto3 is not installed.
    """
    parts = urlsplit(where)
    if parts.scheme == "s3":
        return Bucket(parts.netloc, parts.path.strip("/"))
    if parts.scheme:
        raise ConfigError(f"fleet.store {where!r}: give a folder, or s3://BUCKET/PREFIX")
    return Folder(Path(where))


def checked(name: str) -> str:
    """A name of which no segment leads out of the store.

    Raises:
        FleetError: It has one that does, or characters that no name of ours has.
    """
    if any(part in _BAD_SEGMENTS for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise FleetError(f"{name!r:.120} is no name of a file in a store: it leads elsewhere")
    return name


class Folder:
    """Files below a folder, for any web server to show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return self._path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        path = self._path(name)
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise StorageError(f"{path} cannot be written ({error.strerror}): nothing was changed") from error

    def exists(self, name: str) -> bool:
        """See `Store`."""
        return self._path(name).is_file()

    def list(self, prefix: str) -> list[str]:
        """See `Store`."""
        below = self._path(prefix)
        return sorted(
            path.relative_to(self.folder).as_posix() for path in below.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )

    def _path(self, name: str) -> Path:
        return self.folder / checked(name)


class Bucket:
    """Objects of an S3 bucket. A put is atomic there. Address and credentials come from the environment (AWS_*)."""

    def __init__(self, bucket: str, prefix: str, client: Any = None) -> None:
        if not bucket:
            raise ConfigError("fleet.store names no bucket: s3://BUCKET/PREFIX")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client = client or _client()

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        found = self._call("get_object", name, missing=True)
        return None if found is None else bytes(found["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        self._call("put_object", name, Body=content)

    def exists(self, name: str) -> bool:
        """See `Store`."""
        return self._call("head_object", name, missing=True) is not None

    def list(self, prefix: str) -> list[str]:
        """See `Store`."""
        below, names = f"{self._prefix}{checked(prefix)}/", []
        more: dict[str, Any] = {}
        while True:
            page = self._ask("list_objects_v2", prefix, Prefix=below, **more)
            names += [each["Key"].removeprefix(self._prefix) for each in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return sorted(names)
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, what: str, name: str, *, missing: bool = False, **arguments: Any) -> Any:
        return self._ask(what, name, missing=missing, Key=self._prefix + checked(name), **arguments)

    def _ask(self, what: str, name: str, *, missing: bool = False, **arguments: Any) -> Any:
        errors = importlib.import_module("botocore.exceptions")
        try:
            return getattr(self._client, what)(Bucket=self._bucket, **arguments)
        except errors.ClientError as error:
            if missing and error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
                return None
            raise StorageError(f"s3://{self._bucket}/{self._prefix}{name}: {what} was refused: {error}") from error
        except errors.BotoCoreError as error:
            raise StorageError(f"s3://{self._bucket}/{self._prefix}{name}: {what} did not succeed: {error}") from error


def _client() -> Any:
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError as error:
        raise ConfigError("a fleet.store of s3://... takes boto3: pip install 'nas-pipeline[server]'") from error
    return boto3.client("s3")
