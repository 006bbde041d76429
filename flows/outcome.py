"""The outcome of a pipeline run: .nas/last-run.json for the command line's summary, and a page for Prefect."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nas_pipeline.core.files import read_json, write_json

_TRIALS_SHOWN = 20


@dataclass(slots=True)
class RunOutcome:
    """Collects the results of the stages and targets while the flow runs."""

    root: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Stage -> {state: ran, cached, refused or failed; wall_s}."""
    published: dict[str, Any] | None = None
    unpublished: str | None = None
    """Reason why nothing was published."""
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Target -> {registered: version or None, model, refusal, skipped}."""
    error: dict[str, str] | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    """Commit, and whether the tree had changes that no commit holds; read when the flow starts."""
    started: float = field(default_factory=time.monotonic)

    @property
    def all_refused(self) -> bool:
        """Whether there are targets and all of them were refused."""
        return bool(self.targets) and all(target["refusal"] for target in self.targets.values())

    def refusals(self) -> list[str]:
        """Returns the messages of the refused targets."""
        return [target["refusal"] for target in self.targets.values() if target["refusal"]]

    def write(self) -> None:
        """Writes .nas/last-run.json."""
        value = {key: item for key, item in asdict(self).items() if key not in {"root", "started"}}
        write_json(self.root / ".nas" / "last-run.json", {**value, "wall_s": round(time.monotonic() - self.started, 2)})

    def markdown(self) -> str:
        """Returns the summary as Markdown."""
        lines = ["# Pipeline", "", "| stage | state | seconds |", "|---|---|---|"]
        lines += [f"| {name} | {row['state']} | {row['wall_s']:.1f} |" for name, row in self.stages.items()]
        if self.targets:
            lines += ["", "| target | model | result |", "|---|---|---|"]
            lines += [f"| {name} | {row['model'] or ''} | {_result(row)} |" for name, row in self.targets.items()]
        if self.published:
            lines += ["", f"MLflow run `{self.published['run_id']}` of `{self.published['experiment']}`"]
        if self.unpublished:
            lines += ["", f"Not published: {self.unpublished}"]
        if self.error:
            lines += ["", f"**{self.error['type']}**: {self.error['message']}"]
        return "\n".join(lines)


def trials_table(root: Path) -> list[dict[str, Any]]:
    """Returns a row for each of the best trials, best first; empty if there is no search."""
    path = root / "artifacts" / "search" / "trials.json"
    if not path.is_file():
        return []
    rated = [trial for trial in read_json(path) if "val_accuracy" in trial["metrics"]]
    rated.sort(key=lambda trial: -trial["metrics"]["val_accuracy"])
    return [
        {"trial": trial["number"], "genotype": trial["genotype_id"], "state": trial["state"], **trial["metrics"]}
        for trial in rated[:_TRIALS_SHOWN]
    ]


def _result(row: dict[str, Any]) -> str:
    if row["registered"]:
        return f"version {row['registered']}"
    return str(row["refusal"] or row["skipped"])
