"""Every space of the catalogue is under the contract of spaces. A new row of SPACES needs no line here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.space import SPACES
from nas_pipeline.testing.spaces import DRAWS, SpaceContract, members


class TestSpacesOfTheCatalogue(SpaceContract):
    @pytest.fixture(params=list(SPACES))
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        return SPACES.make(request.param)

    def test_the_row_has_the_name_of_the_space(self, space: SearchSpace) -> None:
        assert isinstance(space, SearchSpace)
        assert SPACES[space.name] is type(space)


def test_ids_are_equal_in_another_process() -> None:
    code = (
        "import random\n"
        "from nas_pipeline.space import SPACES\n"
        "from nas_pipeline.space.choosers import sample\n"
        "for name in SPACES:\n"
        f"    for n in range({DRAWS}):\n"
        "        print(sample(SPACES.make(name), random.Random(f'{name}/{n}')).id)\n"
    )
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == [genotype.id for name in SPACES for genotype in members(SPACES.make(name))]


def test_the_catalogue_is_imported_without_torch() -> None:
    code = "import sys, nas_pipeline.space; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
