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


def test_options_and_given_arguments_meet_in_the_constructor() -> None:
    made = CATALOG.make("evolution", {"population": 20}, seed=3, nobody_asks_for_this=1)
    assert isinstance(made, Evolution)
    assert made.settings == (20, 2, 3)


@pytest.mark.parametrize(("name", "options", "said"), [
    ("evolutoin", {}, "unknown strategy 'evolutoin' \\(did you mean 'evolution'\\?\\)"),
    ("zzz", {}, "known: evolution, needs_path"),
    ("evolution", {"populaton": 3}, "has no option 'populaton' \\(did you mean 'population'\\?\\); it has: population"),
    ("evolution", {"seed": 3}, "has no option 'seed'"),
    ("needs_path", {}, "needs the option path"),
])
def test_mistakes_are_named_with_a_remedy(name: str, options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CATALOG.make(name, options, seed=1)
