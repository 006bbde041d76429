"""A git worktree for one run: the code of one commit, apart from what is being edited, with the shared DVC cache.

It lies in `.nas/worktrees/NAME`. Two runs in two worktrees do not wait for each other's DVC lock; what one has made the
other restores. Working state of searches and trainings is found by its content, so it is shared too: a run that was
killed is gone on with by the next one.
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

PLACE = Path(".nas", "worktrees")
_LOCK = "worktree.lock"
_SHARED = ("downloads", "search", "retrain")
_GIT_TIMEOUT_S = 120


def repository(folder: Path) -> Path:
    """The root of the git repository that `folder` is in.

    Raises:
        ConfigError: There is no git, or no repository.
    """
    return Path(git(folder, "rev-parse", "--show-toplevel")).resolve()


def git(folder: Path, *arguments: str, given: str | None = None) -> str:
    """What git answers.

    Raises:
        ConfigError: There is no git, or it refuses; the message has its own words.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, input=given, capture_output=True, text=True, check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed, and a run of its own commit needs it: install git, or use "
                          "`nas pipeline`, which runs the files as they are") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"git {arguments[0]} in {folder} did not end within {_GIT_TIMEOUT_S} s: see what holds "
                          "the repository") from None
    if done.returncode:
        raise ConfigError(f"git {' '.join(arguments)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_of(repo: Path, ref: str) -> str:
    """The full name of the commit that `ref` means.

    Raises:
        ConfigError: This clone has no such commit.
    """
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except ConfigError as error:
        if "git is not installed" in str(error):
            raise
        raise ConfigError(f"{repo} has no commit {ref!r}: `git fetch --all` brings what others have, "
                          "`git log --all --oneline` shows what there is") from error


@contextlib.contextmanager
def worktree(repo: Path, name: str, ref: str = "HEAD", *, cache: bool = True) -> Iterator[Path]:
    """A worktree of `ref` during the block; it stays afterwards, until `remove` or `prune`.

    Args:
        repo: Root of the repository.
        name: Of the folder; one that is there from an earlier run of the same commit is gone on with.
        ref: A branch, tag or commit.
        cache: Share the repository's DVC cache; else the worktree has one of its own, and everything is made anew.

    Raises:
        ConfigError: No git, or no such commit.
        WorkspaceBusy: Another run is in the worktree of that name.
    """
    commit, folder = commit_of(repo, ref), repo / PLACE / name
    git(repo, "worktree", "prune")
    if (folder / ".git").exists():
        if commit_of(folder, "HEAD") != commit:
            remove(repo, folder)
    elif folder.exists():
        shutil.rmtree(folder)  # git has forgotten it: its making was interrupted
    if not folder.exists():
        git(repo, "worktree", "add", "--detach", str(folder), commit)
    with workspace_lock(folder, _LOCK):
        if cache:
            link(folder / ".dvc" / "cache", cache_folder(repo))
        yield folder


def share_work(repo: Path, root: Path) -> None:
    """Let the workspace `root` use the working state that all runs in worktrees of `repo` have in common."""
    common = repo / ".nas" / "shared"
    for name in _SHARED:
        link(root / ".nas" / name, common / name)
    ledger = common / "test_reads.jsonl"  # the ledger of test reads counts those of all runs
    ledger.touch()
    link(root / ".nas" / ledger.name, ledger, folder=False)


def link(path: Path, to: Path, *, folder: bool = True) -> None:
    """A relative symbolic link at `path`; what is there already stays."""
    if folder:
        to.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent), target_is_directory=folder)


def remove(repo: Path, folder: Path) -> None:
    """Take a worktree away, with all that lies in it; what it shares stays."""
    git(repo, "worktree", "remove", "--force", "--force", str(folder))


def prune(repo: Path, keep: int) -> list[str]:
    """Remove all but the `keep` newest worktrees, never one in which a run is; the names of those removed."""
    place = repo / PLACE
    found = [path for path in place.iterdir() if (path / ".git").exists()] if place.is_dir() else []
    old = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[keep:]
    removed = []
    for folder in old:
        with contextlib.suppress(WorkspaceBusy), workspace_lock(folder, _LOCK), contextlib.suppress(NasError):
            remove(repo, folder)
            removed.append(folder.name)
    return removed
