"""The state of the stages in DVC, and running a stage through DVC. Only dvc.yaml defines the stages and their edges."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from flows.child import running
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import ERRORS, ConfigError, NasError, StageBusy
from nas_pipeline.stages.table import stage_folder

_BUSY = ("it is being blocked by", "Unable to acquire lock")
_CHATTER = (
    "Running stage", "> nas run", "Updating lock file", "Generating lock file", "To track the changes with git",
    "git add ", "To enable auto staging", "dvc config core.autostage", "Use `dvc push`",
    "Stage '", "Data and pipelines are up to date",
)
_LAST_LINES = 8


def stage_names(root: Path) -> list[str]:
    """Returns the names of the stages in the order of dvc.yaml, with targets resolved: `export@local-cpu`.

    Raises:
        ConfigError: dvc.yaml or params.yaml cannot be read.
    """
    with _repo(root) as repo:
        return [stage.name for stage in repo.index.stages if getattr(stage, "name", None)]


def changed_stages(root: Path, *stages: str) -> set[str]:
    """Returns those of `stages` (default: all) whose code, parameters, inputs or outputs differ from dvc.lock.

    Raises:
        ConfigError: dvc.yaml or params.yaml cannot be read.
        StageBusy: Another process holds DVC's lock.
    """
    # DVC resolves a bare name in the dvc.yaml of the current folder, whatever repository is open.
    addresses = [f"{root.resolve() / 'dvc.yaml'}:{stage}" for stage in stages]
    with _repo(root) as repo:
        return {address.rpartition(":")[2] for address in repo.status(targets=addresses or None)}


def reproduce(root: Path, stage: str, on_line: Callable[[str], None]) -> None:
    """Runs or restores one stage with `dvc repro`. Upstream stages are not run.

    Args:
        root: The workspace.
        stage: Name of the stage.
        on_line: Receives every line that the stage writes, without DVC's own lines.

    Raises:
        NasError: The error in the stage's error.json; if there is none, an error with its last lines of output.
        StageBusy: Another process runs the stage.
    """
    error_file = root / stage_folder(stage) / "error.json"
    error_file.unlink(missing_ok=True)
    _repro(root, stage, on_line, error_file)
    if changed_stages(root, stage):  # the cache was modified: DVC has removed the entry by now
        on_line(f"{stage}: the cached outputs are damaged; running the stage again")
        _repro(root, stage, on_line, error_file, "--force")


def cache_folder(root: Path) -> Path:
    """Returns the folder of DVC's cache for the repository at `root`.

    Raises:
        ConfigError: `root` is not a DVC repository.
    """
    with _repo(root) as repo:
        return Path(repo.cache.local.path).parents[1]  # without files/md5


def _repro(root: Path, stage: str, on_line: Callable[[str], None], error_file: Path, *options: str) -> None:
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *options, stage]
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with running(command, root) as child:
        assert child.stdout is not None
        for line in child.stdout:
            text = line.rstrip()
            if text and not _is_chatter(text):
                last.append(text)
                on_line(text)
        code = child.wait()
    if code:
        raise _error(stage, code, error_file, "\n".join(last))


def _is_chatter(line: str) -> bool:
    # The error that is raised reports that the command failed, with its status.
    repeated = line.startswith("ERROR: failed to reproduce") and "failed to run" in line
    return repeated or line.strip().startswith(_CHATTER)


def _error(stage: str, code: int, error_file: Path, last_lines: str) -> NasError:
    try:
        reported = read_json(error_file)
        return ERRORS.get(reported["type"], NasError)(reported["message"])
    except (OSError, ValueError, KeyError, TypeError):
        kind = StageBusy if any(phrase in last_lines for phrase in _BUSY) else NasError
        return kind(f"stage {stage} failed (exit status {code}) and left no error.json; its last lines:\n{last_lines}")


@contextlib.contextmanager
def _repo(root: Path) -> Iterator[Repo]:
    try:
        with Repo(str(root)) as repo:
            yield repo
    except LockError as error:
        raise StageBusy(
            f"another process holds DVC's lock, {root / '.dvc' / 'tmp' / 'lock'}: wait until it has ended (`fuser` on "
            f"that file shows it), then run the same command again. DVC's message: {error}"
        ) from error
    except DvcException as error:
        raise ConfigError(f"DVC cannot read the pipeline in {root}: {error}") from error
