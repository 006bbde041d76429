from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import SpaceError

GENOTYPE = Genotype("mbconv", 1, (("stem.width", 16), ("stage1.kernel", 3), ("se", True), ("op", "skip")))


def test_the_id_never_changes() -> None:
    # A golden value: registry entries and caches of every installation are keyed by it.
    assert GENOTYPE.id == "a3b4faed3a61"


def test_the_id_is_equal_in_another_process() -> None:
    code = "import sys, json; from nas_pipeline.core.genotype import Genotype; " \
           "print(Genotype.from_json(json.loads(sys.argv[1])).id)"
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(GENOTYPE.to_json())], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77"},
    )
    assert answer.stdout.strip() == GENOTYPE.id


def test_json_round_trip() -> None:
    assert Genotype.from_json(json.loads(json.dumps(GENOTYPE.to_json()))) == GENOTYPE


@pytest.mark.parametrize("change", [
    {"space": "other"}, {"version": 2}, {"genes": [["stem.width", 24]]}, {"genes": [["stem.width", 16.0]]},
])
def test_every_part_counts_for_the_id(change: dict) -> None:
    assert Genotype.from_json({**GENOTYPE.to_json(), **change}).id != GENOTYPE.id


@pytest.mark.parametrize(("value", "message"), [
    ([], "expected the keys"),
    ({"space": "a", "version": 1}, "expected the keys"),
    ({"space": "a", "version": 1, "genes": ["x"]}, "not a gene"),
    ({"space": "a", "version": 1, "genes": [["x", None]]}, "gene 'x'"),
    ({"space": "a", "version": "1", "genes": []}, "version an integer"),
])
def test_what_is_no_genotype_is_refused_by_name(value: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Genotype.from_json(value)
