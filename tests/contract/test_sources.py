"""Every source of the catalogue is under the contract of sources. A new row of SOURCES needs no line here."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.sources import SOURCES
from nas_pipeline.data.sources.fashion_mnist import CLASS_NAMES, FashionMnist
from nas_pipeline.errors import ConfigError
from nas_pipeline.testing.sources import SourceContract
from tests.generated_images import CLASSES, picture, write_images

IMAGES, SIDE = 1250, 16


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same generated images as each source of own images wants them."""
    folder = tmp_path_factory.mktemp("own")
    write_images(folder / "shapes", IMAGES, SIDE)
    paths = sorted((folder / "shapes").rglob("*.png"))
    rows = pd.DataFrame({"path": [path.relative_to(folder).as_posix() for path in paths],
                         "label": [path.parent.name for path in paths]})
    rows.to_csv(folder / "shapes.csv", index=False)
    rows.assign(image=[path.read_bytes() for path in paths]).to_parquet(folder / "shapes.parquet")
    pixels = np.stack([picture(CLASSES[row % 5], np.random.default_rng([0, row]), SIDE) for row in range(IMAGES)])
    labels = np.arange(IMAGES) % 5
    parts = {"train": slice(0, 1000), "val": slice(1000, 1100), "test": slice(1100, None)}
    np.savez(folder / "shapes.npz", **{f"{split}_images": pixels[part] for split, part in parts.items()},
             **{f"{split}_labels": labels[part, None] for split, part in parts.items()})
    return folder


OPTIONS = {
    "image_folder": {"path": "shapes", "side": SIDE}, "csv": {"path": "shapes.csv", "side": SIDE},
    "parquet": {"path": "shapes.parquet", "side": SIDE}, "npz": {"path": "shapes.npz"},
}
"""The same images for the sources of own images; a source of another package or a new one has `example` instead."""


def example_options(name, files, folder):
    """Options with which the source loads: those above, its own example, or none."""
    if name in OPTIONS:
        return {**OPTIONS[name], "path": str(files / OPTIONS[name]["path"])}
    example = getattr(SOURCES[name], "example", None)
    return example(folder) if example else {}


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.slow if getattr(SOURCES[name], "slow", False) else ()) for name in SOURCES
])
def loaded(request, files, tmp_path_factory):
    """Name, source and data set of a row, loaded once."""
    options = example_options(request.param, files, tmp_path_factory.mktemp(request.param))
    source = SOURCES.make(request.param, options)
    return request.param, source, source.load()


class TestSourcesOfTheCatalogue(SourceContract):
    @pytest.fixture
    def source(self, loaded):
        return loaded[1]

    @pytest.fixture
    def raw(self, loaded):
        return loaded[2]

    def test_the_data_set_has_the_name_of_the_source_or_of_the_file(self, loaded):
        name, source, raw = loaded
        assert raw.name == ("shapes" if name in OPTIONS else name)
        assert source.key()["name"] == name


def test_options_are_part_of_the_key():
    assert SOURCES.make("synthetic", {"noise": 0.2}).key() != SOURCES.make("synthetic").key()


def test_sources_of_own_images_see_the_same_pixels(files):
    images_of = {}
    for name, options in OPTIONS.items():
        raw = SOURCES.make(name, {**options, "path": str(files / options["path"])}).load()
        images, labels = np.concatenate([raw.train_images, raw.test_images]), [*raw.train_labels, *raw.test_labels]
        images_of[name] = sorted((raw.class_names[label] if name != "npz" else CLASSES[label], image.tobytes())
                                 for image, label in zip(images, labels, strict=True))
    assert images_of["image_folder"] == images_of["csv"] == images_of["parquet"] == images_of["npz"]


def test_a_class_is_a_row_of_the_manifest(files, tmp_path):
    ingest(SOURCES.make("image_folder", {"path": str(files / "shapes"), "side": SIDE}), tmp_path,
           val=0.15, calib=0.1, limit=None, seed=0)
    table = pd.read_parquet(tmp_path / "manifest.parquet")
    assert (table["id"].str.split("/").str[0] == table["label_name"]).all()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of somebody else's that offers sources."""

    def install(points, code):
        folder = tmp_path / "theirs-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[nas_pipeline.sources]\n" + points)
        (tmp_path / "their_module.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "their_module", raising=False)
        return Catalog("source", {"synthetic": SOURCES["synthetic"]}, entry_points="nas_pipeline.sources")

    return install


def test_an_outsider_adds_a_source_by_an_entry_point(package):
    table = package("theirs = their_module:Theirs", (
        "from nas_pipeline.data.sources.synthetic import Synthetic\n"
        "class Theirs:\n"
        "    def __init__(self, classes: int = 3) -> None:\n        self._classes = classes\n"
        "    def load(self):\n        return Synthetic(classes=self._classes).load()\n"
    ))
    assert list(table) == ["synthetic", "theirs"]
    assert len(table.make("theirs", {"classes": 5}).load().class_names) == 5
    with pytest.raises(ConfigError, match=r"no option 'clases' \(did you mean 'classes'\?\)"):
        table.make("theirs", {"clases": 5})


@pytest.mark.parametrize(("points", "code", "message"), [
    ("theirs = their_module:Theirs", "import nothing_of_that_name", "cannot be imported: No module named"),
    ("theirs = their_module:Theirs", "Theirs = 3", "is not callable"),
    ("synthetic = their_module:Theirs", "", "package theirs registers the source 'synthetic'"),
])
def test_a_bad_entry_point_is_named(package, points, code, message):
    table = package(points, code)
    with pytest.raises(ConfigError, match=message):
        table.make("theirs")


def test_parquet_takes_the_bytes_of_a_structure_and_splits_by_file_name(tmp_path):
    def content(number):
        stream = io.BytesIO()
        Image.fromarray(picture(CLASSES[number % 2], np.random.default_rng(number), 16)).save(stream, format="PNG")
        return {"bytes": stream.getvalue(), "path": None}

    for split, numbers in (("train", range(40)), ("test", range(40, 60))):
        rows = pd.DataFrame({"image": [content(n) for n in numbers], "label": [n % 2 for n in numbers]})
        rows.to_parquet(tmp_path / f"{split}-00000.parquet")
    raw = SOURCES.make("parquet", {"path": str(tmp_path), "side": 16, "name": "Two Kinds"}).load()
    assert (raw.name, raw.class_names) == ("two_kinds", ("0", "1"))
    assert (len(raw.train_labels), len(raw.test_labels)) == (40, 20)
    assert raw.test_details.files[0] == "test-00000.parquet#000000"


@pytest.mark.slow
def test_the_real_fashion_mnist():
    data = FashionMnist().load()
    assert data.train_images.shape == (60000, 28, 28, 1)
    assert data.test_images.shape == (10000, 28, 28, 1)
    assert np.bincount(data.train_labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.class_names == CLASS_NAMES
    assert data.train_images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert data.train_images.std() / 255 == pytest.approx(0.3530, abs=1e-4)
