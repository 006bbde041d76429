"""The content of the model card, its behaviour with missing evidence, and the escaping of text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas_pipeline.core.records import DatasetManifest, GateResult, InputSpec, TrainResult
from nas_pipeline.errors import ConfigError
from nas_pipeline.registry.model_card import HTML, MARKDOWN, ModelCardData, render_model_card
from nas_pipeline.registry.statement import Statement, read_statement
from tests.unit.gates.toy_versions import NAMES, bundle, latency, predictions


@pytest.fixture
def facts() -> ModelCardData:
    dataset = DatasetManifest(
        "toy-set", "d" * 64, InputSpec(1, 4, 4, 3), {"train": 9000, "test": 3000}, NAMES, (0.5,), (0.2,),
        {"source": {"licence": "CC0", "origin": "here"}},
    )
    trained = TrainResult(
        bundle().genotype, "d" * 64, {}, (0, 1), (0.97, 0.96), (0.97, 0.95), (1, 1), (1.0, 1.0), 1234, 56789
    )
    return ModelCardData(
        dataset, bundle(), latency(), [GateResult("size_bytes", True, 400.0, 1000.0)], trained,
        predictions(set(range(1, 3000, 6)), retained=0.4), Statement(owner="Ann", limits=["No pets."]),
        {"git.commit": "abc"}, b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    )


@pytest.mark.parametrize("form", [MARKDOWN, HTML])
def test_data_figures_limits_provenance_and_licences_are_there(facts: ModelCardData, form: str) -> None:
    page = render_model_card(facts)[form]
    for text in ("toy-set", "CC0", "Ann", "9,000", "1,234", "96.00 ± 1.41 % over 2 seeds", "coat", "50.00 %",
                 "No pets.", "abc", facts.bundle.digest, "size_bytes", "green", "lowest recall is coat"):
        assert text in page, text


def test_the_page_loads_nothing_and_has_no_script(facts: ModelCardData) -> None:
    page = render_model_card(facts)[HTML]
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert "<script" not in page
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in {"meta", "img"}:
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Tags().feed(page)
    assert opened == []


def test_text_is_not_markup(facts: ModelCardData) -> None:
    named = ("<b>x</b>|y", "coat", "bag")
    odd = render_model_card(replace(facts, dataset=replace(facts.dataset, class_names=named)))
    assert "<b>x" not in odd[HTML]
    assert "<b>x" not in odd[MARKDOWN]
    assert "&lt;b>x&lt;/b>\\|y" in odd[MARKDOWN]


def test_missing_evidence_is_reported(facts: ModelCardData) -> None:
    bare = render_model_card(replace(
        facts, predictions=None, drawing_svg=None, statement=Statement(), latency=latency(evidence="proxy"),
        dataset=replace(facts.dataset, notes={}),
    ))
    for page in bare.values():
        assert "figures by class are not known" in page
        assert "latency is proxy, not measured" in page
        assert "not stated" in page
    assert "drawing.svg" not in bare[MARKDOWN]


def test_the_nearest_statement_is_used_and_its_errors_are_named(tmp_path: Path) -> None:
    assert read_statement(tmp_path).model_licence == "Apache-2.0"
    (tmp_path / "mlflow").mkdir()
    own = tmp_path / "mlflow" / "model_card.yaml"
    own.write_text("owner: Bea\ndata_licence: {toy-set: MIT}\n")
    assert read_statement(tmp_path).owner == "Bea"
    for text, fact in (("ownr: x\n", "ownr"), ("a: [", "YAML"), ("- 1\n", "not a statement")):
        own.write_text(text)
        with pytest.raises(ConfigError, match=fact):
            read_statement(tmp_path)


def test_a_stated_licence_has_precedence_over_that_of_the_source(facts: ModelCardData) -> None:
    assert Statement().licence_of(facts.dataset) == "CC0"
    assert Statement(data_licence={"toy-set": "MIT"}).licence_of(facts.dataset) == "MIT"
