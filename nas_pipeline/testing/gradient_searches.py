"""The contract of strategies of the kind `GradientSearch`."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nas_pipeline.core.protocols import SearchSpace
from nas_pipeline.search.protocols import GradientSearch
from nas_pipeline.space.choosers import replay
from nas_pipeline.testing.keys import check_key


class GradientSearchContract:
    """Subclasses override the fixtures `search` and `space`."""

    @pytest.fixture
    def search(self) -> GradientSearch:
        """The strategy under test, with data and with options that make a search short."""
        raise NotImplementedError("override the fixture `search`")

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space whose members the search derives."""
        raise NotImplementedError("override the fixture `space`")

    def test_key_names_the_search(self, search: GradientSearch) -> None:
        """The key is plain data with name and version, also in another process."""
        assert isinstance(search, GradientSearch)
        assert search.seeds >= 1
        check_key(search)

    def test_equal_seeds_derive_equal_genotypes_also_in_a_pickled_copy(
        self, search: GradientSearch, space: SearchSpace, tmp_path: Path
    ) -> None:
        """Workers get a pickled copy; its result depends on the seed only, and is a member of the space."""
        copied = pickle.loads(pickle.dumps(search))
        first, second = search.derive(3, tmp_path / "a"), copied.derive(3, tmp_path / "b")
        assert first.genotype == second.genotype
        assert first.device_s > 0
        assert [row["epoch"] for row in first.rows] == list(range(len(first.rows)))
        replay(space, first.genotype)
