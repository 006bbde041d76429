"""A workspace with a pipeline of copies: each stage takes its artefacts from `made/`, or fails as fail.json states."""

from __future__ import annotations

from pathlib import Path

STAGES = """
stages:
  search:
    cmd: python stage.py search
    deps: [stage.py, made/artifacts/search/trials.json]
    outs: [artifacts/search, artifacts/ingest, artifacts/retrain, artifacts/validate]
  export:
    foreach: ${targets}
    do:
      cmd: python stage.py export/${key}
      params: ["targets.${key}"]
      deps: [stage.py, artifacts/search]
      outs: ["artifacts/export/${key}"]
  verify:
    foreach: ${targets}
    do:
      cmd: python stage.py verify/${key}
      deps: [stage.py, "artifacts/export/${key}"]
      outs: ["artifacts/verify/${key}"]
"""

STAGE = '''
"""Copies made/artifacts/NAME, or ends as fail.json says."""
import json, pathlib, shutil, sys
name = sys.argv[1]
names = [name] if name != "search" else ["search", "ingest", "retrain", "validate"]
print("working on", name)
with open("runs.log", "a") as log:
    log.write(name + "\\n")
instructions = pathlib.Path("fail.json")
fail = json.loads(instructions.read_text()) if instructions.exists() else {}
if fail.get("stage") == name:
    if "type" in fail:
        folder = pathlib.Path("artifacts", name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.json").write_text(json.dumps({"type": fail["type"], "message": fail["message"]}))
    if fail.get("once"):
        instructions.unlink()
    sys.exit(fail.get("code", 1))
for folder in names:
    shutil.copytree(pathlib.Path("made/artifacts", folder), pathlib.Path("artifacts", folder), dirs_exist_ok=True)
'''


def write_workspace(root: Path, targets: tuple[str, ...] = ("local-cpu", "raspberry-pi-4")) -> None:
    """A DVC repository without git; the artefacts to copy are made by the caller under `root / "made"`."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (root / ".dvcignore").write_text("__pycache__/\n.nas/\n.prefect/\nmlruns/\n")
    (root / "dvc.yaml").write_text(STAGES)
    (root / "params.yaml").write_text("targets:\n" + "".join(f"  {name}: {{probe: local}}\n" for name in targets))
    (root / "stage.py").write_text(STAGE)


def runs(root: Path) -> list[str]:
    """The stages that were run, in order."""
    log = root / "runs.log"
    return log.read_text().split() if log.exists() else []
