"""`nas init`: what it writes, what it proposes, what it refuses."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flows.dvc import changed_stages, stage_names
from nas_pipeline.cli.app import app
from nas_pipeline.config.params import load_params
from nas_pipeline.config.project import create_project
from nas_pipeline.config.workspace import prepare_workspace
from nas_pipeline.data.sources import SOURCES
from nas_pipeline.data.survey import survey
from nas_pipeline.errors import ConfigError, DataError
from tests.generated_images import write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("own") / "Five Shapes", 100, 40)


def test_the_command_says_what_to_type_next(images, tmp_path):
    folder = tmp_path / "my project"
    result = CliRunner().invoke(app, ["init", str(folder), "--images", str(images)])
    assert result.exit_code == 0, result.output
    assert "100 images in 5 classes: checks 20, discs 20" in result.output
    assert f"nas pipeline --root '{folder}'" in result.output
    assert str(folder / "params.yaml") in result.output


def test_the_project_is_ready(images, tmp_path):
    folder = create_project(tmp_path / "project", images).folder
    assert sorted(path.name for path in folder.iterdir()) == [
        ".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "edge_agent", "nas_pipeline", "params.yaml", "requirements.lock"
    ]
    params = load_params(folder)
    options = params.data.source.options
    assert (options["path"], options["name"], options["side"], options["channels"]) == (
        str(images), "five_shapes", 40, 3
    )
    assert len(SOURCES.make(params.data.source.name, options).load().train_labels) == 100
    assert stage_names(folder) == ["ingest", "validate", "search", "retrain", "export@local-cpu", "verify@local-cpu"]
    assert changed_stages(folder, "ingest") == {"ingest"}
    ingest = (folder / "dvc.yaml").read_text().split("  validate:")[0]
    assert str(images) in ingest  # more images make the pipeline run again
    assert prepare_workspace(folder, "try", (folder / "params.yaml").read_text()).is_dir()


def test_proposals_follow_the_images(tmp_path):
    for kind in ("a", "b"):
        for split, count in (("train", 12), ("test", 4)):
            for number in range(count):
                place = tmp_path / "grey" / split / kind
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((300, 500), 10 * number, dtype=np.uint8)).save(place / f"{number}.jpg")
    found = survey(tmp_path / "grey")
    assert (found.per_class, found.has_test, found.short_side, found.coloured) == ({"a": 12, "b": 12}, True, 300, False)
    project = create_project(tmp_path / "project", tmp_path / "grey")
    params = load_params(project.folder)
    assert params.data.source.options["channels"] == 1
    assert params.data.source.options["side"] == 64
    assert "a test split of its own" in (project.folder / "params.yaml").read_text()


def test_what_is_in_the_way(images, tmp_path):
    folder = create_project(tmp_path / "project", images).folder
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"has params\.yaml, dvc\.yaml, nas_pipeline, \.dvc already; name a new"):
        create_project(folder, images)
    assert (folder / "params.yaml").read_bytes() == before
    for inside in (images, images / "project"):
        with pytest.raises(ConfigError, match="is inside the folder of images; choose a folder outside"):
            create_project(inside, images)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        create_project(tmp_path / "file" / "project", images)


def test_images_that_are_not_laid_out_so(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        create_project(tmp_path / "project", tmp_path / "none")
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "one.png").rename(tmp_path / "images" / "one.png")
    with pytest.raises(DataError, match="lies beside the class folders"):
        create_project(tmp_path / "project", tmp_path / "images")
    (tmp_path / "images" / "one.png").rename(tmp_path / "images" / "cat" / "one.png")
    with pytest.raises(DataError, match="only one class, cat"):
        create_project(tmp_path / "project", tmp_path / "images")
    (tmp_path / "images" / "dog").mkdir()
    (tmp_path / "images" / "dog" / "bad.png").write_bytes(b"bad")
    with pytest.raises(DataError, match=r"dog/bad\.png is not PNG"):
        create_project(tmp_path / "project", tmp_path / "images")
    assert not (tmp_path / "project").exists()
