"""Bad images at the stage that meets them: type and exit code, the file and the remedy, and nothing half-written."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nas_pipeline.config.project import create_project
from nas_pipeline.core.files import read_json
from nas_pipeline.errors import DataError, DataRefusal, NasError
from nas_pipeline.stages.run import run_stage
from tests.generated_images import write_images


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return create_project(tmp_path / "project", write_images(tmp_path / "shapes", 100, 32)).folder


def refused(project: Path, stage: str, kind: type[NasError], *words: str) -> None:
    with pytest.raises(NasError) as caught:
        run_stage(stage, project)
    assert type(caught.value) is kind
    assert all(word in str(caught.value) for word in words), str(caught.value)
    left = read_json(project / "artifacts" / stage / "error.json")
    assert left == {"type": kind.__name__, "message": str(caught.value)}


@pytest.mark.parametrize(("damage", "words"), [
    (lambda folder: (folder / "discs" / "0001.png").write_bytes(b""), ["discs/0001.png is empty"]),
    (lambda folder: (folder / "discs" / "0001.png").write_bytes((folder / "discs" / "0001.png").read_bytes()[:700]),
     ["discs/0001.png is damaged or cut short", "copy it again"]),
    (lambda folder: shutil.rmtree(folder), ["there is no folder"]),
    (lambda folder: shutil.rmtree(folder / "discs") or (folder / "discs").mkdir(), ["discs has no image"]),
    (lambda folder: (folder / "discs" / "up").symlink_to(folder), ["discs/up is a symbolic link", "remove the link"]),
    (lambda folder: (folder / "discs" / "list.txt").write_text("x"), ["discs/list.txt is not an image", "move it out"]),
], ids=["empty", "truncated", "no folder", "empty class", "link loop", "no image"])
def test_what_ingest_refuses(project, tmp_path, damage, words):
    damage(tmp_path / "shapes")
    refused(project, "ingest", DataError, *words)
    assert DataError.exit_code == 3
    assert [path.name for path in (project / "artifacts" / "ingest").iterdir()] == ["error.json"]


def test_mended_images_go_through_and_a_class_that_misses_in_a_split_is_refused(project, tmp_path):
    (tmp_path / "shapes" / "rings" / "x.png").write_bytes(b"no image")
    refused(project, "ingest", DataError, "rings/x.png is not PNG")
    (tmp_path / "shapes" / "rings" / "x.png").unlink()
    run_stage("ingest", project)
    run_stage("validate", project)
    report = read_json(project / "artifacts" / "validate" / "report.json")
    assert report["success"]
    for path in list((tmp_path / "shapes" / "rings").iterdir())[2:]:
        path.unlink()
    run_stage("ingest", project)
    refused(project, "validate", DataRefusal, "every class has at least 1 images in every split", "/rings",
            "What to do")
    assert DataRefusal.exit_code == 4


def test_near_copies_and_dark_images_are_warnings_in_the_report(project, tmp_path):
    manifest = project / "artifacts" / "ingest" / "manifest.parquet"
    run_stage("ingest", project)
    table = pd.read_parquet(manifest)
    in_test = tmp_path / "shapes" / table.loc[table["split"] == "test", "id"].iloc[0]
    for number in range(8):  # wherever they are drawn to, some are not in the test split
        noise = np.random.default_rng(number).integers(-2, 3, (32, 32, 3))
        pixels = np.asarray(Image.open(in_test)).astype(int) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(in_test.with_name(f"copy-{number}.png"))
    Image.fromarray(np.asarray(Image.open(in_test)) // 8).save(in_test.with_name("dark.png"))
    run_stage("ingest", project)
    run_stage("validate", project)
    checks = read_json(project / "artifacts" / "validate" / "report.json")["expectations"]
    found = {check["column"]: [row["id"] for row in check["first_offenders"]]
             for check in checks if not check["success"]}
    assert any("copy-" in name for name in found["look_alikes"])
    assert [Path(name).name for name in found["brightest"]] == ["dark.png"]
    page = (project / "artifacts" / "validate" / "data_docs" / "index.html").read_text()
    assert "dark.png" in page
