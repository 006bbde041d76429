"""Stores of signed files: a folder, or an S3 bucket. Writes are atomic."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ConfigError, FleetError, StorageError

_BAD_SEGMENTS = {"", ".", ".."}


class Store(Protocol):
    """Files by name. The segments of a name are separated by `/`; `checked_name` defines the valid ones."""

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None if it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Writes a file atomically; replaces one of the same name.

        Raises:
            StorageError: It cannot be written; the existing file is unchanged.
        """

    def exists(self, name: str) -> bool:
        """Returns whether a file exists."""

    def list(self, prefix: str) -> list[str]:
        """Returns the names below `prefix`, sorted."""


def open_store(address: str) -> Store:
    """Returns the store at a folder or at `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: The address has another scheme or no bucket, or boto3 is not installed.
    """
    parts = urlsplit(address)
    if parts.scheme == "s3":
        return BucketStore(parts.netloc, parts.path.strip("/"))
    if parts.scheme:
        raise ConfigError(f"fleet.store {address!r} must be a folder or s3://BUCKET/PREFIX")
    return FolderStore(Path(address))


def checked_name(name: str) -> str:
    """Returns `name` if it stays inside the store.

    Raises:
        FleetError: A segment is empty or relative, or a character is not allowed.
    """
    if any(part in _BAD_SEGMENTS for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise FleetError(f"{name!r:.120} is not a valid file name in a store: it leads outside")
    return name


class FolderStore:
    """Files below a folder, which any web server can serve."""

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
        directory = self._path(prefix)
        return sorted(
            path.relative_to(self.folder).as_posix() for path in directory.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )

    def _path(self, name: str) -> Path:
        return self.folder / checked_name(name)


class BucketStore:
    """Objects of an S3 bucket, where a put is atomic. Address and credentials come from the environment (AWS_*)."""

    def __init__(self, bucket: str, prefix: str, client: Any = None) -> None:
        if not bucket:
            raise ConfigError("fleet.store has no bucket: use s3://BUCKET/PREFIX")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client = client or _client()

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        response = self._call("get_object", name, missing=True)
        return None if response is None else bytes(response["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        self._call("put_object", name, Body=content)

    def exists(self, name: str) -> bool:
        """See `Store`."""
        return self._call("head_object", name, missing=True) is not None

    def list(self, prefix: str) -> list[str]:
        """See `Store`."""
        prefix_path, names = f"{self._prefix}{checked_name(prefix)}/", []
        continuation: dict[str, Any] = {}
        while True:
            page = self._request("list_objects_v2", prefix, Prefix=prefix_path, **continuation)
            names += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return sorted(names)
            continuation = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, operation: str, name: str, *, missing: bool = False, **arguments: Any) -> Any:
        return self._request(operation, name, missing=missing, Key=self._prefix + checked_name(name), **arguments)

    def _request(self, operation: str, name: str, *, missing: bool = False, **arguments: Any) -> Any:
        errors = importlib.import_module("botocore.exceptions")
        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except errors.ClientError as error:
            if missing and error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
                return None
            raise StorageError(f"s3://{self._bucket}/{self._prefix}{name}: {operation} failed: {error}") from error
        except errors.BotoCoreError as error:
            raise StorageError(f"s3://{self._bucket}/{self._prefix}{name}: {operation} failed: {error}") from error


def _client() -> Any:
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError as error:
        raise ConfigError("fleet.store with s3:// needs boto3: pip install 'nas-pipeline[server]'") from error
    return boto3.client("s3")
