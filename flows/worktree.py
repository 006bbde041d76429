"""Git worktrees for runs: the code of one commit, independent of edits in the repository, with the shared DVC cache.

A worktree is the folder `.nas/worktrees/NAME`. Runs in different worktrees do not wait for each other's DVC lock, and
restore each other's outputs. Working state of searches and trainings is keyed by content and shared too: the next run
continues what a killed run has started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flows.dvc import cache_folder
from flows.lock import workspace_lock
from nas_pipeline.errors import ConfigError, NasError, WorkspaceBusy

WORKTREES = Path(".nas", "worktrees")
_LOCK = "worktree.lock"
_SHARED = ("downloads", "search", "retrain")
_GIT_TIMEOUT_S = 120


def repository(folder: Path) -> Path:
    """Returns the root of the git repository that contains `folder`.

    Raises:
        ConfigError: git is not installed, or there is no repository.
    """
    return Path(git(folder, "rev-parse", "--show-toplevel")).resolve()


def git(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """Runs git and returns its standard output.

    Args:
        folder: Working directory.
        *arguments: Subcommand and its arguments.
        stdin: Text for standard input.

    Raises:
        ConfigError: git is not installed, or fails; the message contains its error.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed, and a run in a worktree needs it: install git, or use "
                          "`nas pipeline`, which runs the current files") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"git {arguments[0]} in {folder} did not finish within {_GIT_TIMEOUT_S} s: check which "
                          "process locks the repository") from None
    if done.returncode:
        raise ConfigError(f"git {' '.join(arguments)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_of(repo: Path, ref: str) -> str:
    """Returns the full hash of the commit `ref`.

    Raises:
        ConfigError: The repository has no such commit.
    """
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except ConfigError as error:
        if "git is not installed" in str(error):
            raise
        raise ConfigError(f"{repo} has no commit {ref!r}: `git fetch --all` fetches the commits of all "
                          "remotes, `git log --all --oneline` lists them") from error


@contextlib.contextmanager
def worktree(repo: Path, name: str, ref: str = "HEAD", *, cache: bool = True) -> Iterator[Path]:
    """Yields a locked worktree of `ref`. It exists after the block, until `remove` or `prune`.

    Args:
        repo: Root of the repository.
        name: Name of the folder. An existing worktree of the same commit is used again.
        ref: Branch, tag or commit.
        cache: Share the repository's DVC cache. Otherwise the worktree has an empty cache of its own.

    Raises:
        ConfigError: git is not installed, or there is no such commit.
        WorkspaceBusy: Another run uses the worktree.
    """
    commit, folder = commit_of(repo, ref), repo / WORKTREES / name
    git(repo, "worktree", "prune")
    if (folder / ".git").exists():
        if commit_of(folder, "HEAD") != commit:
            remove(repo, folder)
    elif folder.exists():
        shutil.rmtree(folder)  # git has no record of it: its creation was interrupted
    if not folder.exists():
        git(repo, "worktree", "add", "--detach", str(folder), commit)
    with workspace_lock(folder, _LOCK):
        if cache:
            link(folder / ".dvc" / "cache", cache_folder(repo))
        yield folder


def share_work(repo: Path, root: Path) -> None:
    """Links the working state that all worktrees of `repo` share into the workspace `root`."""
    shared = repo / ".nas" / "shared"
    for name in _SHARED:
        link(root / ".nas" / name, shared / name)
    ledger = shared / "test_reads.jsonl"  # counts the test reads of all runs
    ledger.touch()
    link(root / ".nas" / ledger.name, ledger, folder=False)


def link(path: Path, to: Path, *, folder: bool = True) -> None:
    """Creates a relative symbolic link to `to` at `path`, unless `path` exists. With `folder`, creates `to` too."""
    if folder:
        to.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent), target_is_directory=folder)


def remove(repo: Path, folder: Path) -> None:
    """Removes a worktree and its content. Shared state is not touched."""
    git(repo, "worktree", "remove", "--force", "--force", str(folder))


def prune(repo: Path, retain: int) -> list[str]:
    """Removes all but the `retain` newest worktrees, except those in use. Returns the names of the removed ones."""
    parent = repo / WORKTREES
    folders = [path for path in parent.iterdir() if (path / ".git").exists()] if parent.is_dir() else []
    old = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[retain:]
    removed = []
    for folder in old:
        with contextlib.suppress(WorkspaceBusy), workspace_lock(folder, _LOCK), contextlib.suppress(NasError):
            remove(repo, folder)
            removed.append(folder.name)
    return removed
