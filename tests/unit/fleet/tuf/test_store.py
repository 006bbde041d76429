"""The contract of a store, for a folder and for a bucket with the real boto3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_pipeline.errors import ConfigError, FleetError, StorageError
from nas_pipeline.fleet.tuf.store import Store, open_store
from tests.unit.fleet.toy_bucket import s3_server
from tests.unit.fleet.toy_releases import MODEL, TARGET, new_fleet, publish


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    pytest.importorskip("boto3", reason="the extra `server` is not installed")
    with pytest.MonkeyPatch.context() as patch, s3_server() as address:
        environment = {"ACCESS_KEY_ID": "toy", "SECRET_ACCESS_KEY": "toy", "DEFAULT_REGION": "eu-west-1",
                 "ENDPOINT_URL": address, "EC2_METADATA_DISABLED": "true", "MAX_ATTEMPTS": "1"}
        for name, value in environment.items():
            patch.setenv(f"AWS_{name}", value)
        yield "s3://toy"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def test_files_round_trip_and_are_listed(store: Store) -> None:
    assert store.read("metadata/1.root.json") is None
    assert not store.exists("metadata/1.root.json")
    for name in ("metadata/1.root.json", "metadata/timestamp.json", "metadata/2.root.json", "targets/a/b"):
        store.write(name, name.encode())
    store.write("metadata/timestamp.json", b"new")
    assert store.read("metadata/timestamp.json") == b"new"
    assert store.exists("targets/a/b")
    assert store.list("metadata") == ["metadata/1.root.json", "metadata/2.root.json", "metadata/timestamp.json"]
    assert store.list("bundles") == []


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "", "a//b", "a\\b", "a\n"])
def test_an_invalid_name_is_refused(store: Store, name: str) -> None:
    for operation in (store.read, store.exists, store.list, lambda name: store.write(name, b"")):
        with pytest.raises(FleetError, match="not a valid file name"):
            operation(name)


def test_a_fleet_works_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, store=f"{bucket}/fleet")
    row = publish(fleet, b"one")
    assert fleet.release_list(TARGET, MODEL) == (row,)


def test_an_unwritable_store_is_reported(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        open_store(str(tmp_path / "file")).write("a", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="put_object failed"):
        open_store(bucket).write("a", b"")
    for address in ("ftp://host/x", "s3://"):
        with pytest.raises(ConfigError):
            open_store(address)
