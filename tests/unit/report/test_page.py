"""The page of a complete, an incomplete and a damaged run; it loads nothing from the network."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas_pipeline.core.files import read_json, write_json
from nas_pipeline.report.page import PAGE, PageContext, render_page, write_page
from nas_pipeline.report.run_artifacts import read_run_artifacts
from nas_pipeline.report.search_value import ComparedSearch
from nas_pipeline.space.published import PUBLISHED
from tests.unit.report.toy_run import CLASSES, member, trial, write_run

MAX_BYTES = 5 * 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path)
    return tmp_path


def text(root: Path, context: PageContext | None = None) -> str:
    return render_page(read_run_artifacts(root), context or PageContext())


class Tags(HTMLParser):
    """Every tag's attributes, the ids, and which tags were left open."""

    EMPTY = frozenset(("meta", "link", "img", "br", "line", "path", "circle"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        loading = {"src", "srcset", "data", "poster", "action"} & attributes.keys()
        self.loaded += [str(attributes[name]) for name in sorted(loading)]
        if tag == "a":
            self.links.append(str(attributes["href"]))
        elif "href" in attributes:
            self.loaded.append(str(attributes["href"]))
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")


def test_the_page_is_one_file_that_loads_nothing(root: Path) -> None:
    path = write_page(root)
    page = path.read_text(encoding="utf-8")
    assert path == root / PAGE
    assert len(page.encode()) < MAX_BYTES
    tags = Tags(page)
    assert all(uri.startswith("data:") for uri in tags.loaded)
    pictures = [uri for uri in tags.loaded if uri.startswith("data:image/png")]
    assert len(pictures) == 6, "targets that ship one file share its mistakes"
    assert not re.findall(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_tags_are_closed_and_links_have_targets(root: Path) -> None:
    tags = Tags(text(root))
    assert (tags.open, tags.wrong) == ([], [])
    assert len(tags.ids) == len(set(tags.ids))
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)


def test_the_content_of_the_page(root: Path) -> None:
    page = text(root, PageContext("tpe", {"git.commit": "abc123", "git.dirty": "true"}))
    for words in (
        "Registered for laptop; refused for watch.", "Registered, version 3", "Red: evidence: proxy, bound measured",
        "15 trials: 12 complete, 2 stopped early, 1 failed", "no run of random search", "git checkout abc123",
        "make pipeline", "1 of 1 expectations met", "none: MLflow is down", "Confusion matrix",
        "random forest (decrease of impurity) over 11 complete",
        "90.00 % of 60 images", "as much as 1.5 full trainings",
    ):
        assert words in page, words
    for id_ in ("verdict", "value", "search", "networks", "mistakes", "gates", "cost", "data", "provenance"):
        assert f'<section id="{id_}">' in page


def test_names_from_files_are_escaped(root: Path) -> None:
    page = text(root)
    assert CLASSES[0] not in page
    assert "ankle &lt;b&gt;boot&lt;/b&gt;" in page
    (held,) = re.findall(r'id="candidates">(.*?)</script>', page, re.DOTALL)
    assert "<" not in held


def test_the_page_has_decisions_and_blocks_of_every_candidate(root: Path) -> None:
    page = text(root)
    (held,) = re.findall(r'id="candidates">(.*?)</script>', page, re.DOTALL)
    known = json.loads(held)
    keys = set(re.findall(r'data-key="([^"]+)"', page))
    assert keys <= set(known["trials"])
    assert len(known["trials"]) == 14, "the failed one has nothing to show"
    winner = known["trials"]["t1-0"]
    assert winner["id"] == member(0).id
    assert "stem: width" in winner["genes"]
    blocks = known["blocks"][member(0).id]
    assert blocks[-1][1].startswith("Linear")
    assert all(len(block) == 5 for block in blocks)


def test_the_cells_of_a_winner_that_has_some_are_shown(root: Path) -> None:
    assert "The winner's cells" not in text(root), "a residual network has none"
    path = root / "artifacts" / "retrain" / "result.json"
    write_json(path, {**read_json(path), "genotype": PUBLISHED["darts_v2"].to_json()})
    page = text(root)
    assert "The winner's cells" in page
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert b"reduction cell" in base64.b64decode(picture)
    assert Tags(page).wrong == []
    stranger = {"space": "cell", "version": 1, "genes": [["width", 16]]}
    write_json(path, {**read_json(path), "genotype": stranger})
    assert "The winner's cells" not in text(root), "a genotype that cannot be drawn is not an error"


STAGES = ("ingest", "validate", "search", "retrain", "export", "verify")


@pytest.mark.parametrize("stage", STAGES)
def test_any_stage_may_be_missing(root: Path, stage: str) -> None:
    shutil.rmtree(root / "artifacts" / stage)
    page = text(root)
    assert "This run is not complete" in page
    assert f"artifacts/{stage}" in page
    assert Tags(page).wrong == []


def test_a_run_that_has_just_begun_and_one_that_has_not(tmp_path: Path) -> None:
    page = text(tmp_path)
    assert "nothing has run yet" in page
    assert "There has been no search yet" in page
    write_json(tmp_path / "artifacts" / "search" / "error.json", {"type": "SearchRefusal", "message": "none is <2 ms"})
    assert "search: SearchRefusal: none is &lt;2 ms" in text(tmp_path)


def test_damaged_files_are_named(root: Path) -> None:
    (root / "artifacts" / "search" / "trials.json").write_text("{")
    (root / "artifacts" / "export" / "laptop" / "val_predictions.npz").write_bytes(b"no zip")
    page = text(root)
    assert "search/trials.json: ValueError" in page
    assert "val_predictions.npz cannot be read" in page


def test_older_runs_without_predictions_and_distribution(root: Path) -> None:
    for target in ("laptop", "watch"):
        (root / "artifacts" / "export" / target / "val_predictions.npz").unlink()
        path = root / "artifacts" / "verify" / target / "latency.json"
        write_json(path, {key: value for key, value in read_json(path).items() if key != "quantiles_ms"})
    page = text(root)
    assert "not recorded: no val_predictions.npz" in page
    assert "The distribution was not recorded" in page


def test_a_random_search_is_compared(root: Path) -> None:
    baseline = ComparedSearch("run dice", "random", [trial(number) for number in range(20, 30)])
    page = text(root, PageContext("tpe", compared=[baseline]))
    assert "run dice. One search each: not a significance test." in page
    assert 'aria-label="Best accuracy so far"' in page
    assert "random search itself" in text(root, PageContext("random"))


def test_the_command_of_the_run_is_shown(root: Path) -> None:
    write_json(root / ".nas" / "command.json", {"profile": "smoke", "overrides": ["retrain.seeds=5", "search.seed=1"]})
    assert "make pipeline PROFILE=smoke &#39;SET=retrain.seeds=5 search.seed=1&#39;" in text(root)


def luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(digit * 2 for digit in colour[1:])
    parts = [int(full[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_the_contrast_of_wcag_aa_in_every_theme(root: Path) -> None:
    themes = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+)", block))
              for block in re.findall(r"\{[^{}]*--ink:[^{}]*\}", text(root))]
    assert len(themes) == 4, "light, dark by choice, dark by the system, print"
    for theme in themes:
        pairs = [(ink, page) for ink in ("ink", "soft", "good", "bad", "open", "accent") for page in ("page", "card")]
        pairs += [(kind, f"{kind}-bg") for kind in ("good", "bad", "open")]
        for ink, page in pairs:
            if ink in theme:
                light, dark = sorted((luminance(theme[ink]), luminance(theme[page])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, page, theme[ink], theme[page])
