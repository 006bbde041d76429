"""The drop to which devices write reports: a folder, or a prefix of a bucket."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ConfigError, StorageError


class Drop(Protocol):
    """A flat set of files with names. Devices write reports to it; `collect` reads and removes them."""

    def names(self) -> list[str]:
        """Returns the names of the files."""

    def read(self, name: str, most: int) -> bytes | None:
        """Returns the first `most` bytes; None if the file does not exist or is not a regular file."""

    def write(self, name: str, content: bytes) -> None:
        """Writes a file atomically."""

    def remove(self, name: str) -> None:
        """Removes a file, if it exists."""


def open_drop(where: str) -> Drop:
    """Opens the drop in a folder or at `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: The address has another scheme or no bucket, or boto3 is not installed.
    """
    parts = urlsplit(where)
    if parts.scheme == "s3" and parts.netloc:
        try:
            client = importlib.import_module("boto3").client("s3")
        except ImportError as error:
            raise ConfigError(f"a drop at {where} requires boto3: pip install 'nas-pipeline[server]'") from error
        return BucketDrop(client, parts.netloc, parts.path.strip("/"))
    if parts.scheme:
        raise ConfigError(f"drop {where!r} is not supported: use a folder, or s3://BUCKET/PREFIX")
    return FolderDrop(Path(where))


class FolderDrop:
    """The files of one folder. Links are not followed, so that a writer cannot make the server read other files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """See `Drop`. Names with a leading dot are incomplete files, and are omitted."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir()
                      if not path.name.startswith(".") and path.is_file() and not path.is_symlink())

    def read(self, name: str, most: int) -> bytes | None:
        """See `Drop`."""
        path = self.folder / name
        if path.is_symlink():
            return None
        try:
            with path.open("rb") as file:
                return file.read(most)
        except (FileNotFoundError, IsADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `Drop`."""
        with atomic_path(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def remove(self, name: str) -> None:
        """See `Drop`."""
        (self.folder / name).unlink(missing_ok=True)


class BucketDrop:
    """The objects below a prefix of a bucket, through a client of boto3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, f"{prefix}/" if prefix else ""

    def names(self) -> list[str]:
        """See `Drop`. Returns at most 1,000 names; the next pass gets the next ones."""
        page = self._request("list_objects_v2", Prefix=self._prefix, Delimiter="/")
        return sorted(item["Key"].removeprefix(self._prefix) for item in page.get("Contents", []))

    def read(self, name: str, most: int) -> bytes | None:
        """See `Drop`."""
        response = self._request("get_object", missing=True, Key=self._prefix + name)
        return None if response is None else bytes(response["Body"].read(most))

    def write(self, name: str, content: bytes) -> None:
        """See `Drop`."""
        self._request("put_object", Key=self._prefix + name, Body=content)

    def remove(self, name: str) -> None:
        """See `Drop`."""
        self._request("delete_object", Key=self._prefix + name)

    def _request(self, what: str, *, missing: bool = False, **arguments: Any) -> Any:
        errors = importlib.import_module("botocore.exceptions")
        try:
            return getattr(self._client, what)(Bucket=self._bucket, **arguments)
        except (errors.ClientError, errors.BotoCoreError) as error:
            if missing and getattr(error, "response", {}).get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise StorageError(f"s3://{self._bucket}/{self._prefix}: {what} failed: {error}") from error
