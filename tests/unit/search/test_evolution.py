from __future__ import annotations

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.search.protocols import PastTrial
from nas_pipeline.search.strategies.evolution import Evolution
from nas_pipeline.testing.toy import DECISIONS, ToySpace


def member(choice: int) -> Genotype:
    return Genotype("toy", 1, tuple((f"d{number}", choice) for number in range(DECISIONS)))


def past(number: int, choice: int, loss: float, violation: float = 0.0) -> PastTrial:
    return PastTrial(number, member(choice), {}, (loss, 0.0), {"latency_ms": violation} if violation else {})


def parents(history: list[PastTrial], strategy: Evolution) -> set[int]:
    """The choices of the parents over many seeds: a child keeps nine of its parent's ten equal choices."""
    children = [strategy.propose(ToySpace(), history, seed).as_dict() for seed in range(40)]
    choices = [max(set(genes.values()), key=list(genes.values()).count) for genes in children]
    assert all(list(genes.values()).count(choice) == DECISIONS - 1
               for genes, choice in zip(children, choices, strict=True))
    return {int(choice) for choice in choices}


def test_candidates_are_random_until_the_population_is_complete() -> None:
    history = [past(0, 1, loss=0.1), past(1, 2, loss=0.2)]
    genes = [Evolution(population=3, sample_size=3).propose(ToySpace(), history, seed).genes for seed in range(10)]
    assert len(set(genes)) == 10
    assert all(len({choice for _, choice in chosen}) > 1 for chosen in genes)


def test_the_oldest_member_is_removed_however_good_it_is() -> None:
    history = [past(0, 3, loss=0.0), past(1, 1, loss=0.5), past(2, 2, loss=0.6), past(3, 0, loss=0.7)]
    assert 3 not in parents(history, Evolution(population=3, sample_size=3))


def test_a_full_tournament_is_won_by_the_best_and_a_tournament_of_one_by_anyone() -> None:
    history = [past(0, 0, loss=0.7), past(1, 1, loss=0.5), past(2, 2, loss=0.6)]
    assert parents(history, Evolution(population=3, sample_size=1)) == {0, 1, 2}
    history = [past(number, 1 if number == 5 else 0, loss=0.1 if number == 5 else 0.7) for number in range(8)]
    assert 1 in parents(history, Evolution(population=8, sample_size=8))


def test_a_member_within_the_bounds_beats_a_better_one_outside() -> None:
    history = [past(0, 1, loss=0.1, violation=0.2), past(1, 2, loss=0.9), past(2, 3, loss=0.2, violation=0.1)]
    wins = parents(history, Evolution(population=3, sample_size=3))
    assert 2 in wins
    outside = [past(0, 1, loss=0.1, violation=0.2), past(1, 3, loss=0.2, violation=0.1)]
    assert 3 in parents(outside, Evolution(population=2, sample_size=2))
