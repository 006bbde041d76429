"""A place that devices write reports to and we take them from: a folder, or a prefix of a bucket."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from nas_pipeline.core.files import atomic_path
from nas_pipeline.errors import ConfigError, StorageError


class Drop(Protocol):
    """Files by name."""

    def names(self) -> list[str]:
        """What lies there."""

    def read(self, name: str, most: int) -> bytes | None:
        """The first `most` bytes; None where it is gone, or no file."""

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole."""

    def remove(self, name: str) -> None:
        """Take it away, if it is there."""


def open_drop(where: str) -> Drop:
    """The drop in a folder or at `s3://BUCKET/PREFIX`.

    Raises:
        ConfigError: Another kind of address, no bucket, or boto3 is not installed.
    """
    parts = urlsplit(where)
    if parts.scheme == "s3" and parts.netloc:
        try:
            client = importlib.import_module("boto3").client("s3")
        except ImportError as error:
            raise ConfigError(f"a drop at {where} takes boto3: pip install 'nas-pipeline[server]'") from error
        return BucketDrop(client, parts.netloc, parts.path.strip("/"))
    if parts.scheme:
        raise ConfigError(f"drop {where!r}: give a folder, or s3://BUCKET/PREFIX")
    return FolderDrop(Path(where))


class FolderDrop:
    """Files of one folder. Links are not followed: who may write there must not make us read elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """See `Drop`. What an agent is still writing begins with a dot."""
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
    """Objects below a prefix. The client is boto3's."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, f"{prefix}/" if prefix else ""

    def names(self) -> list[str]:
        """See `Drop`; at most a thousand at once, the next pass gets the next."""
        page = self._ask("list_objects_v2", Prefix=self._prefix, Delimiter="/")
        return sorted(each["Key"].removeprefix(self._prefix) for each in page.get("Contents", []))

    def read(self, name: str, most: int) -> bytes | None:
        """See `Drop`."""
        found = self._ask("get_object", missing=True, Key=self._prefix + name)
        return None if found is None else bytes(found["Body"].read(most))

    def write(self, name: str, content: bytes) -> None:
        """See `Drop`."""
        self._ask("put_object", Key=self._prefix + name, Body=content)

    def remove(self, name: str) -> None:
        """See `Drop`."""
        self._ask("delete_object", Key=self._prefix + name)

    def _ask(self, what: str, *, missing: bool = False, **arguments: Any) -> Any:
        errors = importlib.import_module("botocore.exceptions")
        try:
            return getattr(self._client, what)(Bucket=self._bucket, **arguments)
        except (errors.ClientError, errors.BotoCoreError) as error:
            if missing and getattr(error, "response", {}).get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise StorageError(f"s3://{self._bucket}/{self._prefix}: {what} did not succeed: {error}") from error
