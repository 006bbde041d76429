"""All tests that import Great Expectations (some seconds), with few checkpoints (half a second each)."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from nas_pipeline.data.expectations import validate
from nas_pipeline.data.ingest import ingest
from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.errors import DataError, DataRefusal
from tests.unit.data.toy_data import FixedSource, noise, raw

BOUNDS = {"min_per_class": 5, "min_side": 8, "max_side": 64, "max_class_drift": 0.05}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingested")
    ingest(Synthetic(train=200, test=80, side=8), folder, val=40, calib=20, limit=None, seed=0)
    return folder


@pytest.fixture
def spoil(ingested, tmp_path):
    """A copy of the folder whose manifest table has been changed."""

    def spoiled(change):
        for path in ingested.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        table = pd.read_parquet(ingested / "manifest.parquet")
        change(table).to_parquet(tmp_path / "manifest.parquet", index=False)
        return tmp_path

    return spoiled


def refused(folder, **bounds):
    """The text of the refusal, and rule -> row of the report for violated rules."""
    with pytest.raises(DataRefusal) as caught:
        validate(folder, folder / "validation", **{**BOUNDS, **bounds})
    report = json.loads((folder / "validation/report.json").read_text())
    assert not report["success"]
    broken = [check for check in report["expectations"] if not check["success"] and check["level"] == "refuse"]
    return str(caught.value), {check["rule"]: check for check in broken}


def ids(check):
    return [row["id"] for row in check["first_offenders"]]


class References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]


def test_good_data(ingested, tmp_path, capfd):
    reports = [validate(ingested, tmp_path / name, **BOUNDS) for name in ("a", "b")]
    assert reports[0]["success"]
    assert reports[0]["rows"] == 280
    assert reports[0] == json.loads((tmp_path / "a/report.json").read_text())
    assert {check["table"] for check in reports[0]["expectations"]} == {"images", "classes"}
    for file in ("report.json", "data_docs/index.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    page = (tmp_path / "a/data_docs/index.html").read_text()
    assert "Accepted: all" in page
    assert all(check["rule"].replace(">", "&gt;") in page for check in reports[0]["expectations"])
    references = References()
    references.feed(page)
    assert references.outside == []
    assert not {"script", "link", "img", "iframe"} & set(references.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert capfd.readouterr() == ("", "")


def test_every_rule_on_rows_names_the_rows_that_break_it(spoil):
    names = []

    def change(table):
        table.loc[0, "split"] = "holdout"
        table.loc[1, "label"] = 9
        table.loc[2, "label_name"] = "a <b>bird</b>"
        table.loc[3, "width"] = 7
        table.loc[4, "height"] = 65
        table.loc[5, "channels"] = 3
        table.loc[6, "decoded"] = False
        table.loc[10:24, "std"] = 0.0
        table.loc[30, "sha256"] = table.loc[279, "sha256"]
        table.loc[7, "source"] = None
        table.loc[9, "id"] = table.loc[8, "id"]
        names.extend(table["id"])
        return table

    folder = spoil(change)
    message, broken = refused(folder)
    assert {rule: ids(check) for rule, check in broken.items()} == {
        "every split is one of train, val, calib, test": [names[0]],
        "every label is in 0..3": [names[1]],
        "every label has the name that dataset.json gives it": [names[1], names[2]],
        "the width of every image is 8 to 64 pixels": [names[3]],
        "the height of every image is 8 to 64 pixels": [names[4]],
        "every image has 1 channel(s)": [names[5]],
        "every image could be decoded from its shard": [names[6]],
        "no image is of one colour (std > 0)": names[10:20],
        "no image has an exact copy in another split": [names[30], names[279]],
        "every image has its source": [names[7]],
        "no id is used twice": [names[8]],
    }
    assert message.startswith("synthetic was refused: 11 of 42 expectations are not met\n")
    assert f"no image is of one colour (std > 0) (15 of 280 rows fail): {', '.join(names[10:20])} and 5 more" in message
    assert str(folder / "validation/data_docs/index.html") in message
    page = (folder / "validation/data_docs/index.html").read_text()
    assert "Refused: 11 of 42" in page
    assert set(re.findall(r"<li><code>([^<]*)</code>", page)) >= {names[0], names[279]}
    assert "<b>bird" not in page


def test_rules_on_classes(spoil):
    def change(table):
        few = (table["split"] == "val") & (table["label"] == 2)
        return table.drop(index=table.index[few][4:])

    message, broken = refused(spoil(change))
    assert ids(broken["every class has at least 5 images in every split"]) == ["val/angle-090"]
    assert "val/angle-090" in ids(broken["the share of a class differs by at most 0.05 between splits"])
    assert "there are as many rows as dataset.json says" in broken
    assert "val/angle-090" in message


def test_a_class_that_is_not_there_at_all(spoil):
    _, broken = refused(spoil(lambda table: table[(table["split"] != "calib") | (table["label"] != 0)]))
    assert ids(broken["every class has at least 5 images in every split"]) == ["calib/angle-000"]


def test_columns_that_are_missing(spoil):
    folder = spoil(lambda table: table.drop(columns=["split", "std"]).assign(extra=1))
    message, broken = refused(folder)
    observed = broken["the table has the columns of a manifest and no others"]["observed"]
    for column in ("split", "std"):
        assert column in observed
        assert "does not exist" in broken[f"every image has its {column}"]["observed"]
    assert "unexpected: extra" in message
    assert "Not checked: the columns split and label" in (folder / "validation/data_docs/index.html").read_text()


def test_a_constant_image_from_the_source_is_refused_by_its_id(tmp_path):
    train = noise(60, side=8)
    train[17] = 128
    ingest(FixedSource(raw(train, [0, 1] * 30, noise(20, side=8, seed=1), [0, 1] * 10)), tmp_path,
           val=10, calib=10, limit=None, seed=0)
    _, broken = refused(tmp_path)
    assert {rule: ids(check) for rule, check in broken.items()} == {
        "no image is of one colour (std > 0)": ["train-000017"]
    }


def test_what_is_no_ingested_folder_is_an_error_not_a_refusal(tmp_path, ingested):
    with pytest.raises(DataError, match="run the ingest stage") as caught:
        validate(tmp_path, tmp_path / "out", **BOUNDS)
    assert not isinstance(caught.value, DataRefusal)
    (tmp_path / "dataset.json").write_bytes((ingested / "dataset.json").read_bytes())
    with pytest.raises(DataError, match=r"manifest\.parquet does not exist") as caught:
        validate(tmp_path, tmp_path / "out", **BOUNDS)
    assert not isinstance(caught.value, DataRefusal)
    assert not (tmp_path / "out").exists()


def test_findings_warn_or_refuse_as_they_are_told_to(spoil, caplog):
    def change(table):
        table.loc[0, "brightest"] = 0.1
        table.loc[1, "sharpness"] = 0.01
        table.loc[2, "file_width"] = 9000
        table.loc[3, "phash"] = table.loc[279, "phash"]
        table.loc[[4, 278], "group"] = "patient"
        return table

    folder = spoil(change)
    refuse = {"blurred": {"level": "refuse"}, "dark": {"level": "off"}}
    message, broken = refused(folder, findings=refuse)
    assert {check["column"] for check in broken.values()} == {"splits_of_group", "sharpness"}
    assert "  - warning: violated: no file is over 3 times as long" in message
    report = json.loads((folder / "validation/report.json").read_text())
    warned = {check["column"]: ids(check) for check in report["expectations"]
              if not check["success"] and check["level"] == "warn"}
    assert set(warned) == {"aspect", "size_ratio", "look_alikes"}
    assert len(warned["look_alikes"]) == 2
    assert report["warnings"] == 3
    page = (folder / "validation/data_docs/index.html").read_text()
    assert page.count("! warning") == 3


def test_warnings_do_not_refuse_but_are_said(spoil, caplog):
    def change(table):
        table.loc[0, "brightest"] = 0.1
        return table

    folder = spoil(change)
    report = validate(folder, folder / "validation", **BOUNDS)
    assert (report["success"], report["warnings"]) == (True, 1)
    assert "no image is dark" in caplog.text
    assert "with 1 warning(s)" in (folder / "validation/data_docs/index.html").read_text()
