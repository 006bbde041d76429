"""Makes a published run again, from what MLflow knows of it, and compares digests. `python -m flows.reproduce RUN`.

In a worktree of the run's commit, with its uncommitted changes and its parameters. Without Prefect: nothing of it has
an effect on the world.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows import environment
from flows.compare import Verdict, compare
from flows.dvc import cache_folder, changed_stages, reproduce, stage_names
from flows.worktree import git, link, repository, worktree
from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.files import sha256_file, write_json, write_text
from nas_pipeline.errors import ConfigError, NasError, ReproductionRefusal
from nas_pipeline.registry.origin import Origin, outputs, read_origin

logger = logging.getLogger("flows.reproduce")  # also where this module is __main__

_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 where every output is the same, but for what is measured; 4 where one is not."""
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description="Make a published run again.")
    parser.add_argument("run", help="id of a run in MLflow, or its run key")
    parser.add_argument("--root", type=Path, default=Path(), help="the workspace whose MLflow is asked (default: here)")
    parser.add_argument("--from-cache", action="store_true", help="restore what DVC's cache has, run what it has not")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    environment.prepare(root)
    environment.log_to_terminal()
    try:
        verdicts = make_again(root, options.run, from_cache=options.from_cache)
        _judge(options.run, verdicts)
    except (NasError, OSError) as raised:
        error = raised if isinstance(raised, NasError) else storage_error(raised, root)
        if error is None:
            raise
        logger.error("%s: %s", "refused" if error.exit_code == 4 else "error", error)
        return error.exit_code
    except KeyboardInterrupt:
        logger.error("interrupted; the same command goes on where it stopped")
        return 130
    return 0


def make_again(root: Path, run: str, *, from_cache: bool = False) -> dict[str, Verdict]:
    """Make the run again in a worktree of its own; the verdict on each of its outputs.

    Args:
        root: The workspace whose MLflow is asked; it lies in the repository.
        run: Id or key of the run.
        from_cache: Take what DVC's cache has. Else everything is made anew, in a cache that nobody shares.

    Raises:
        RegistryError: The run is not known, or not well enough.
        ConfigError: The clone has not its commit.
    """
    repo, origin = repository(root), read_origin(root, run)
    name = f"reproduce-{origin.run_id[:12]}{'-cached' if from_cache else ''}"
    with worktree(repo, name, origin.commit, cache=from_cache) as tree:
        logger.info("run %s: commit %s in %s", origin.run_key, origin.commit[:12], tree)
        _lay_out(tree, origin, from_cache=from_cache)
        link(tree / ".nas" / "downloads", repo / ".nas" / "downloads")
        _warn_of_other_packages(repo, origin)
        os.environ["PYTHONPATH"] = str(tree)  # the stages' code is that of the commit
        for stage in stage_names(tree):
            if changed_stages(tree, stage):
                logger.info("%s ...", stage)
                reproduce(tree, stage, logger.info)
        after = outputs((tree / "dvc.lock").read_text(encoding="utf-8"))
        verdicts = compare(origin.outputs(), after, cache_folder(repo), tree)
        write_json(tree / ".nas" / "reproduced.json", {"run_id": origin.run_id, "outputs": verdicts})
        return verdicts


def _lay_out(tree: Path, origin: Origin, *, from_cache: bool) -> None:
    """The files of the run; those that its stages have made already in here stay."""
    git(tree, "reset", "--hard", "--quiet", "HEAD")
    if origin.patch:
        try:
            git(tree, "apply", "--binary", "--whitespace=nowarn", "-", given=origin.patch)
        except ConfigError as error:
            raise ConfigError(f"the uncommitted changes of run {origin.run_id} do not fit: {error}") from error
    write_text(tree / "params.yaml", origin.params)
    if from_cache and not (tree / "dvc.lock").exists():
        write_text(tree / "dvc.lock", origin.lock)


def _warn_of_other_packages(repo: Path, origin: Origin) -> None:
    lock = repo / "requirements.lock"
    if lock.is_file() and sha256_file(lock) != origin.requirements_sha256:
        logger.warning("requirements.lock is not that of the run: other versions may give other bytes. "
                       "For the same ones: `git checkout %s -- requirements.lock && make setup`", origin.commit[:12])


def _judge(run: str, verdicts: Mapping[str, Verdict]) -> None:
    counts = Counter(verdicts.values())
    means: dict[Verdict, str] = {"same": "byte for byte", "measured": "but for what is measured"}
    for verdict, words in means.items():
        logger.info("%d output(s) the same %s", counts[verdict], words)
    wrong = [f"{path}: {verdict}" for path, verdict in verdicts.items() if verdict in {"differs", "missing"}]
    if wrong:
        raise ReproductionRefusal(
            f"run {run} was made again, and {len(wrong)} of {len(verdicts)} outputs are not what they were:\n  "
            + "\n  ".join(wrong[:_SHOWN])
            + "\nThe first of them is where to look. A budget in seconds (device_s, wall_s) buys another number of "
            "steps on another day; budgets in epochs and trials give the same again"
        )


if __name__ == "__main__":
    raise SystemExit(main())
