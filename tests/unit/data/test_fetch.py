import functools
import http.server
import shutil
import subprocess
import threading

import pytest

from nas_pipeline.data.fetch import Way, addresses, debian_package, first_that_works
from nas_pipeline.errors import DataError


def failing(reason):
    def load():
        raise DataError(reason)

    return load


def test_the_first_way_that_works_is_taken():
    ways = (Way("one", failing("gone")), Way("two", lambda: 2), Way("three", lambda: 3))
    assert first_that_works("Things", ways, offline=False, advice="") == ("two", 2)


def test_when_nothing_works_one_error_lists_every_way():
    ways = (Way("a folder", failing("no folder")), Way("a mirror", failing("no answer")))
    with pytest.raises(DataError) as caught:
        first_that_works("Things", ways, offline=False, advice="Do this.")
    assert str(caught.value).splitlines() == [
        "Things cannot be loaded. Ways tried:",
        "  - a folder: no folder",
        "  - a mirror: no answer",
        "Do this.",
    ]


def test_offline_does_not_touch_the_network():
    ways = (Way("a mirror", lambda: pytest.fail("the network was used"), network=True),)
    with pytest.raises(DataError, match="a mirror: skipped, offline is set"):
        first_that_works("Things", ways, offline=True, advice="")


def test_a_defect_is_not_taken_for_a_way_that_does_not_work():
    with pytest.raises(ZeroDivisionError):
        first_that_works("Things", (Way("broken", lambda: 1 // 0), Way("two", lambda: 2)), offline=False, advice="")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a").write_bytes(b"content of a")
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_addresses(server, tmp_path):
    addresses(server, ["a"], tmp_path)
    assert (tmp_path / "a").read_bytes() == b"content of a"


def test_addresses_name_what_does_not_answer(server, tmp_path):
    with pytest.raises(DataError, match="/b: File not found"):
        addresses(server, ["a", "b"], tmp_path)


def test_debian_package_without_the_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="apt-get is not installed"):
        debian_package("things", "/usr/share/things", ["a"], tmp_path)


APT_GET = """#!/bin/sh
# An apt-get of a machine without package lists: `download` works only after an `update` into a private folder.
case "$*" in
  *update*) for word in "$@"; do case "$word" in Dir::State=*) touch "${word#Dir::State=}/lists/ok";; esac; done ;;
  *Dir::State=*download*) [ -e state/lists/ok ] && cp "$ARCHIVE" . ;;
  *) echo "E: Unable to locate package things" >&2; exit 100 ;;
esac
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    content = tmp_path / "content"
    (content / "DEBIAN").mkdir(parents=True)
    (content / "DEBIAN/control").write_text(
        "Package: things\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: things\n"
    )
    (content / "usr/share/things").mkdir(parents=True)
    (content / "usr/share/things/a").write_bytes(b"content of a")
    subprocess.run(["dpkg-deb", "-b", content, tmp_path / "things.deb"], check=True, capture_output=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text(APT_GET)
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("ARCHIVE", str(tmp_path / "things.deb"))
    into = tmp_path / "into"
    into.mkdir()
    return into


def test_debian_package_fetches_private_lists_where_there_are_none(package):
    debian_package("things", "/usr/share/things", ["a"], package)
    assert [path.name for path in package.iterdir()] == ["a"]
    assert (package / "a").read_bytes() == b"content of a"


def test_debian_package_lacks_a_file(package):
    with pytest.raises(DataError, match="package things has no /usr/share/things/b"):
        debian_package("things", "/usr/share/things", ["b"], package)


def test_debian_package_says_what_apt_said(package, monkeypatch):
    monkeypatch.setenv("ARCHIVE", "/nowhere")
    with pytest.raises(DataError, match=r"apt-get: cp: .*nowhere"):
        debian_package("things", "/usr/share/things", ["a"], package)
