from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas_pipeline.core.files import atomic_directory, atomic_path, read_json, write_json, write_text


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    write_text(target, "old")

    def crash() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        crash()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_sigkill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"value": "old"})
    code = (
        "import os, signal, sys; from pathlib import Path; from nas_pipeline.core.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_json(target) == {"value": "old"}


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "docs"
    for names in (("a", "b"), ("c",)):
        with atomic_directory(target) as temporary:
            for name in names:
                (temporary / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["c"]


def test_equal_values_are_equal_files(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"a": 1, "b": [1.5, None]})
    write_json(tmp_path / "two", {"b": [1.5, None], "a": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_not_a_number_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x", {"accuracy": float("nan")})
    assert not list(tmp_path.iterdir())


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        read_json(tmp_path / "broken.json")
