"""Reproduces a published run from its record in MLflow and compares the digests: `python -m flows.reproduce RUN`.

The run takes place in a worktree of the run's commit, with its uncommitted changes and its parameters. It does not use
Prefect and has no effect outside the worktree.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows import environment
from flows.compare import OutputVerdict, compare
from flows.dvc import cache_folder, changed_stages, reproduce, stage_names
from flows.worktree import git, link, repository, worktree
from nas_pipeline.core.disk import storage_error
from nas_pipeline.core.files import sha256_file, write_json, write_text
from nas_pipeline.errors import ConfigError, NasError, ReproductionRefusal
from nas_pipeline.registry.origin import Origin, outputs, read_origin

logger = logging.getLogger("flows.reproduce")  # also where this module is __main__

_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns exit status 0 if every output is equal, measurements excepted, and 4 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description="Run a published run again.")
    parser.add_argument("run", help="id of an MLflow run, or its run key")
    parser.add_argument("--root", type=Path, default=Path(), help="workspace (default: the current folder)")
    parser.add_argument("--from-cache", action="store_true", help="restore outputs from DVC's cache")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    environment.prepare(root)
    environment.log_to_terminal()
    try:
        verdicts = reproduce_run(root, options.run, from_cache=options.from_cache)
        _judge(options.run, verdicts)
    except (NasError, OSError) as raised:
        error = raised if isinstance(raised, NasError) else storage_error(raised, root)
        if error is None:
            raise
        logger.error("%s: %s", "refused" if error.exit_code == 4 else "error", error)
        return error.exit_code
    except KeyboardInterrupt:
        logger.error("interrupted; run the same command again to continue")
        return 130
    return 0


def reproduce_run(root: Path, run: str, *, from_cache: bool = False) -> dict[str, OutputVerdict]:
    """Reproduces a run in a worktree of its own. Returns the verdict on each of its outputs.

    Args:
        root: A workspace in the repository; it selects MLflow.
        run: Id or key of the run.
        from_cache: Restore outputs from DVC's cache. Otherwise all stages run, with an empty cache of their own.

    Raises:
        RegistryError: The run does not exist, or its record is incomplete.
        ConfigError: The repository does not contain its commit.
    """
    repo, origin = repository(root), read_origin(root, run)
    name = f"reproduce-{origin.run_id[:12]}{'-cached' if from_cache else ''}"
    with worktree(repo, name, origin.commit, cache=from_cache) as tree:
        logger.info("run %s: commit %s in %s", origin.run_key, origin.commit[:12], tree)
        _write_sources(tree, origin, from_cache=from_cache)
        link(tree / ".nas" / "downloads", repo / ".nas" / "downloads")
        _warn_of_other_packages(repo, origin)
        os.environ["PYTHONPATH"] = str(tree)  # the stages import the code of the commit
        for stage in stage_names(tree):
            if changed_stages(tree, stage):
                logger.info("%s ...", stage)
                reproduce(tree, stage, logger.info)
        after = outputs((tree / "dvc.lock").read_text(encoding="utf-8"))
        verdicts = compare(origin.outputs(), after, cache_folder(repo), tree)
        write_json(tree / ".nas" / "reproduced.json", {"run_id": origin.run_id, "outputs": verdicts})
        return verdicts


def _write_sources(tree: Path, origin: Origin, *, from_cache: bool) -> None:
    """Writes the source files of the run into its worktree; outputs of completed stages are not touched."""
    git(tree, "reset", "--hard", "--quiet", "HEAD")
    if origin.patch:
        try:
            git(tree, "apply", "--binary", "--whitespace=nowarn", "-", stdin=origin.patch)
        except ConfigError as error:
            raise ConfigError(f"the uncommitted changes of run {origin.run_id} cannot be applied: {error}") from error
    write_text(tree / "params.yaml", origin.params)
    if from_cache and not (tree / "dvc.lock").exists():
        write_text(tree / "dvc.lock", origin.lock)


def _warn_of_other_packages(repo: Path, origin: Origin) -> None:
    lock = repo / "requirements.lock"
    if lock.is_file() and sha256_file(lock) != origin.requirements_sha256:
        logger.warning("requirements.lock differs from that of the run: other versions may produce other bytes. "
                       "To install the same versions: `git checkout %s -- requirements.lock && make setup`",
                       origin.commit[:12])


def _judge(run: str, verdicts: Mapping[str, OutputVerdict]) -> None:
    counts = Counter(verdicts.values())
    descriptions: dict[OutputVerdict, str] = {"same": "equal", "measured": "equal except for measurements"}
    for verdict, description in descriptions.items():
        logger.info("%d output(s) %s", counts[verdict], description)
    wrong = [f"{path}: {verdict}" for path, verdict in verdicts.items() if verdict in {"differs", "missing"}]
    if wrong:
        raise ReproductionRefusal(
            f"run {run} was reproduced, and {len(wrong)} of {len(verdicts)} outputs differ:\n  "
            + "\n  ".join(wrong[:_SHOWN])
            + "\nStart with the first of them. The number of steps in a budget of seconds (device_s, wall_s) varies; "
            "use budgets in epochs and trials for reproducible runs"
        )


if __name__ == "__main__":
    raise SystemExit(main())
