"""Errors of the sources of image files: each message names the file or row, and the remedy."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.sources import SOURCES
from nas_pipeline.errors import ConfigError, DataError


def picture(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, 255 - shade)).save(path)


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        picture(tmp_path / "pets" / "cat" / f"{number}.png", 10 + number)
        picture(tmp_path / "pets" / "dog" / "deep" / f"{number}.png", 100 + number)
    return tmp_path / "pets"


@pytest.fixture
def sheet(folder):
    """A CSV file beside the folder, written from (path, label, ...) rows."""

    def write(columns="path,label", rows=None):
        rows = rows or [f"pets/cat/{n}.png,cat" for n in range(6)] + [f"pets/dog/deep/{n}.png,dog" for n in range(6)]
        path = folder.parent / "pets.csv"
        path.write_text("\n".join([columns, *rows]) + "\n")
        return path

    return write


def load(name, path, **options):
    return SOURCES.make(name, {"path": str(path), **({} if name == "npz" else {"side": 8}), **options}).load()


def refused(name, path, *words, **options):
    with pytest.raises(DataError) as caught:
        load(name, path, **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return str(caught.value)


def test_a_folder_is_read_to_any_depth_and_named_relatively(folder):
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "Thumbs.db").write_bytes(b"x")
    raw = load("image_folder", folder)
    assert raw.class_names == ("cat", "dog")
    assert len(raw.train_labels) == 12
    assert len(raw.test_labels) == 0
    assert raw.train_details.files[-1] == "dog/deep/5.png"
    assert raw.train_details.sizes.tolist() == [[8, 8]] * 12


def test_folders_above_the_classes_are_splits(folder):
    root = folder.parent / "split"
    for split in ("train", "val", "test"):
        shutil.copytree(folder, root / split)
    raw = load("image_folder", root)
    assert (len(raw.train_labels), len(raw.test_labels)) == (24, 12)
    assert set(raw.train_details.splits) == {"train", "val"}
    assert raw.class_names == ("cat", "dog")


def test_a_class_missing_in_a_split_of_the_folder(folder):
    root = folder.parent / "split"
    shutil.copytree(folder, root / "train")
    shutil.copytree(folder / "cat", root / "test" / "cat")
    refused("image_folder", root, "classes without an image in the split test", "dog",
            "so that the pipeline assigns them")


def test_folders_that_are_not_as_they_should_be(folder, tmp_path):
    refused("image_folder", tmp_path / "none", "there is no folder", "none", "sub-folder of images per class")
    (tmp_path / "bare").mkdir()
    refused("image_folder", tmp_path / "bare", "no class folders", "one sub-folder per class")
    (folder / "emu").mkdir()
    refused("image_folder", folder, "pets/emu has no image", "add images or remove the folder")
    (folder / "emu").rmdir()
    picture(folder / "stray.png", 1)
    refused("image_folder", folder, "stray.png lies beside the class folders", "move each into the folder of its class")
    (folder / "stray.png").unlink()
    (folder / "cat" / "film.gif").write_bytes(b"GIF89a")
    refused("image_folder", folder, "cat/film.gif is not an image of a supported type", "convert it or move it out")
    (folder / "cat" / "film.gif").unlink()
    shutil.rmtree(folder / "dog")
    refused("image_folder", folder, "only one class, 'cat'", "add images of another class")


def test_links_are_followed_but_not_in_circles(folder):
    (folder / "emu").symlink_to(folder / "cat")
    assert len(load("image_folder", folder).train_labels) == 18
    (folder / "dog" / "round").symlink_to(folder)
    refused("image_folder", folder, "dog/round is a symbolic link to", "remove the link")


def test_all_broken_files_are_named_at_once_up_to_ten(folder):
    for number in range(12):
        (folder / "cat" / f"broken-{number:02d}.png").write_bytes(b"" if number else b"not an image")
    message = refused("image_folder", folder, "cat/broken-00.png is not PNG", "cat/broken-01.png is empty (0 bytes)",
                      "cat/broken-09.png", "and 2 more")
    assert "broken-10" not in message


def test_a_file_that_leads_nowhere(folder):
    (folder / "cat" / "gone.png").symlink_to("moved-away.png")
    refused("image_folder", folder, "cat/gone.png does not exist")
    (folder / "cat" / "gone.png").unlink()
    (folder / "cat" / "loop.png").symlink_to("loop.png")
    refused("image_folder", folder, "cat/loop.png is a symbolic link to itself; remove the link")


def test_groups_by_an_expression_on_the_file_name(folder):
    raw = load("image_folder", folder, group=r"(\d)\.png")
    assert raw.train_details.groups == tuple("012345") * 2
    refused("image_folder", folder, "does not match '0.png'", "correct the expression", group="(patient)")
    with pytest.raises(ConfigError, match="not a regular expression"):
        load("image_folder", folder, group="(")
    with pytest.raises(ConfigError, match="has no bracket"):
        load("image_folder", folder, group="patient")


def test_a_group_stays_in_one_split(tmp_path):
    for number in range(60):
        for kind in ("a", "b"):
            picture(tmp_path / "in" / kind / f"p{number % 12}_{number}.png", number + 100 * (kind == "b"))
    source = SOURCES.make("image_folder", {"path": str(tmp_path / "in"), "side": 8, "group": "(p[0-9]+)_"})
    manifest = ingest(source, tmp_path / "out", val=0.15, calib=0.1, test=0.2, limit=None, seed=0)
    table = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert table["group"].nunique() == 12
    assert sum(manifest.counts.values()) == 120
    for split, wanted in (("val", 18), ("calib", 12), ("test", 24)):
        assert abs(manifest.counts[split] - wanted) <= 10
    assert (table.groupby(["split", "label"]).size() > 0).sum() == 8


def test_too_few_groups(folder, tmp_path):
    source = SOURCES.make("image_folder", {"path": str(folder), "side": 8, "group": "()?([01])?"})
    with pytest.raises(DataError, match="does not match"):
        source.load()
    source = SOURCES.make("image_folder", {"path": str(folder), "side": 8, "group": r"(png)"})
    with pytest.raises(DataError, match=r"1 group\(s\) cannot fill 4 splits.*add images of other groups"):
        ingest(source, tmp_path / "out", val=0.2, calib=0.1, limit=None, seed=0)
    assert not (tmp_path / "out").exists()


def test_a_csv_with_splits_and_groups(sheet):
    rows = [f"pets/{folder_name}/{n}.png,{label},{'test' if n == 5 else 'val' if n == 4 else ''},{label}{n}"
            for label, folder_name in (("cat", "cat"), ("dog", "dog/deep")) for n in range(6)]
    raw = load("csv", sheet("path,label,split,group", rows))
    assert (len(raw.train_labels), len(raw.test_labels)) == (10, 2)
    assert raw.train_details.splits.count("val") == 2
    assert raw.test_details.groups == ("cat5", "dog5")
    assert raw.name == "pets"


@pytest.mark.parametrize(("columns", "row", "words"), [
    ("path,label", "pets/cat/0.png,cat", ["names occur twice", "pets/cat/0.png", "keep one of each in"]),
    ("path,label", "pets/new.png,", ["images without a label", "pets/new.png", "give each its label in"]),
    ("path,label", "pets/new.png,NaN", ["images without a label", "pets/new.png"]),
    ("path,label", "pets/cta.png,cta", ["unknown labels", "pets/cta.png is 'cta' (did you mean 'cat'?)", "classes"]),
    ("path,label", "pets/none.png,cat", ["pets/none.png does not exist; correct the path"]),
    ("path,label,split", "pets/x.png,cat,tset", ["pets/x.png is in the split 'tset'", "write train, val, calib, test"]),
])
def test_rows_that_are_wrong(sheet, columns, row, words):
    rest = "," * (columns.count(",") - 1)
    rows = [f"pets/cat/{n}.png,cat{rest}" for n in range(6)] + [f"pets/dog/deep/{n}.png,dog{rest}" for n in range(6)]
    refused("csv", sheet(columns, [*rows, row]), "pets.csv", *words, classes=["cat", "dog"])


def test_a_group_in_two_splits(sheet):
    rows = ["pets/cat/0.png,cat,train,anna", "pets/cat/1.png,cat,test,anna", "pets/dog/deep/0.png,dog,train,ben",
            "pets/dog/deep/1.png,dog,test,carl"]
    refused("csv", sheet("path,label,split,group", rows), "groups in more than one split", "anna (test, train)",
            "one group (a patient, a video) belongs in one split")


def test_csv_files_that_are_none(sheet, tmp_path):
    refused("csv", tmp_path / "none.csv", "none.csv does not exist")
    refused("csv", sheet("file,class"), "has no column path, label, it has file, class", "its first line must name")
    path = sheet()
    path.write_bytes("path,label\nÄ,cat\n".encode("latin-1"))
    refused("csv", path, "is not a CSV file in UTF-8", "save it as one")
    path.write_text("")
    refused("csv", path, "is not a CSV file")
    path.write_text("path,label\n")
    refused("csv", path, "has no image")


def test_parquet_files_that_are_none(tmp_path, folder):
    path = tmp_path / "pets.parquet"
    refused("parquet", path, "pets.parquet does not exist")
    path.write_bytes(b"PAR1")
    refused("parquet", path, "pets.parquet is not a parquet file", "write it again")
    content = (folder / "cat" / "0.png").read_bytes()
    pd.DataFrame({"image": [content, None, b""], "label": ["cat", "dog", "cat"]}).to_parquet(path)
    refused("parquet", path, "pets.parquet#000001 has no bytes", "pets.parquet#000002 is empty")
    pd.DataFrame({"image": [content, content], "label": [1.0, np.nan], "id": ["a", "b"]}).to_parquet(path)
    refused("parquet", path, "images without a label", "  b")
    refused("parquet", path, "has no column kind", "data.source.options.image and label", label="kind")


def arrays(**changes):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)
    arrays = {"train_images": pixels, "train_labels": np.arange(12) % 2, **changes}
    return {name: value for name, value in arrays.items() if value is not None}


def test_an_npz_may_be_brought_to_another_shape(tmp_path):
    np.savez(tmp_path / "some.npz", **arrays())
    raw = load("npz", tmp_path / "some.npz", side=16, channels=3, classes=["cat", "dog"])
    assert raw.train_images.shape == (12, 16, 16, 3)
    assert raw.class_names == ("cat", "dog")
    assert raw.train_details.sizes[0].tolist() == [9, 9]


@pytest.mark.parametrize(("changes", "words"), [
    ({"train_images": None}, ["has no train_images", "save the arrays under the names"]),
    ({"train_images": np.zeros((12, 9, 9))}, ["train_images: must be uint8", "got float64", "convert it"]),
    ({"train_labels": None}, ["train_labels: there is no such array", "save one label per image"]),
    ({"train_labels": np.arange(11)}, ["train_labels: must be [12] or [12, 1]"]),
    ({"train_labels": np.zeros((12, 14), dtype=int)}, ["images with several labels each cannot be used"]),
    ({"train_labels": np.array([0, 1, np.nan] * 4)}, ["train_labels: row 2 is nan (4 such row(s))", "correct these"]),
    ({"train_labels": np.array([0, 1, -1] * 4)}, ["row 2 is -1"]),
    ({"train_labels": np.array(["cat", "dog"] * 6)}, ["must be whole numbers 0, 1, 2"]),
    ({"train_labels": np.zeros(12, dtype=int)}, ["only one class"]),
    ({"train_labels": np.arange(12) % 2 * 2}, ["no image of 1 in the split train"]),
    ({"test_images": np.zeros((2, 9, 9), dtype=np.uint8), "test_labels": np.zeros(2, dtype=int)},
     ["no image of 1 in the split test"]),
    ({"test_images": np.zeros((2, 8, 9), dtype=np.uint8), "test_labels": np.arange(2)}, ["the splits differ in size"]),
    ({"train_labels": np.array([{}] * 12, dtype=object)}, ["not an npz file of plain arrays"]),
])
def test_arrays_that_are_wrong(tmp_path, changes, words):
    np.savez(tmp_path / "some.npz", **arrays(**changes))
    refused("npz", tmp_path / "some.npz", "some.npz", *words)


def test_npz_files_that_are_none(tmp_path):
    refused("npz", tmp_path / "none.npz", "none.npz does not exist")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    refused("npz", tmp_path / "bad.npz", "not an npz file of plain arrays", "numpy.savez")
    np.savez(tmp_path / "some.npz", **arrays(train_labels=np.arange(12) % 3))
    with pytest.raises(ConfigError, match="names only 2; name all 3"):
        load("npz", tmp_path / "some.npz", classes=["cat", "dog"])
