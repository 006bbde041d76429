from __future__ import annotations

import pytest

from nas_pipeline.core.catalog import Catalog
from nas_pipeline.errors import ConfigError


class Evolution:
    def __init__(self, population: int = 8, tournament: int = 2, *, seed: int = 0) -> None:
        self.settings = (population, tournament, seed)


class NeedsPath:
    def __init__(self, path: str) -> None:
        self.path = path


CATALOG: Catalog[object] = Catalog("strategy", {"evolution": Evolution, "needs_path": NeedsPath})


def test_options_and_context_are_passed_to_the_constructor() -> None:
    strategy = CATALOG.make("evolution", {"population": 20}, seed=3, not_a_parameter=1)
    assert isinstance(strategy, Evolution)
    assert strategy.settings == (20, 2, 3)


@pytest.mark.parametrize(("name", "options", "message"), [
    ("evolutoin", {}, "unknown strategy 'evolutoin' \\(did you mean 'evolution'\\?\\)"),
    ("zzz", {}, "known: evolution, needs_path"),
    ("evolution", {"populaton": 3}, "has no option 'populaton' \\(did you mean 'population'\\?\\); it has: population"),
    ("evolution", {"seed": 3}, "has no option 'seed'"),
    ("needs_path", {}, "needs the option path"),
])
def test_mistakes_are_named_with_a_remedy(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CATALOG.make(name, options, seed=1)
