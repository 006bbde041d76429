"""Contract of spaces. Every row of SPACES is tested."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import Chooser, G, SearchSpace
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space import SPACES
from nas_pipeline.space.choosers import DecisionRecorder, ReplayChooser, crossover, mutate, replay, sample
from nas_pipeline.space.cost import cost
from nas_pipeline.space.enumeration import size
from nas_pipeline.space.ops import OPS
from nas_pipeline.space.options import accepted
from tests.odometer import enumerate_all

SPECS = [InputSpec(1, 28, 28, 10), InputSpec(3, 32, 32, 5)]
DRAWS = 20
LARGEST_PARAMS = 1_300_000
"""About one megabyte with one byte per weight."""


@pytest.fixture(params=list(SPACES))
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES.make(request.param)


def members(space: SearchSpace, n: int = DRAWS) -> list[Genotype]:
    return [sample(space, random.Random(f"{space.name}/{number}")) for number in range(n)]


def built(space: SearchSpace, genotype: Genotype, spec: InputSpec, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return space.build(replay(space, genotype), spec)


def images(spec: InputSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(1))


class Cut:
    """A space with two options for a few decisions and one option for all others, small enough to enumerate."""

    def __init__(self, space: SearchSpace, open_decisions: set[str]) -> None:
        self.name, self.version = space.name, space.version
        self._space, self._open = space, open_decisions

    def decide(self, choose: Chooser) -> Any:
        return self._space.decide(_CutChooser(choose, self._open))

    def build(self, plan: Any, spec: InputSpec) -> torch.nn.Module:
        return self._space.build(plan, spec)


class _CutChooser:
    def __init__(self, inner: Chooser, open_decisions: set[str]) -> None:
        self._inner, self._open = inner, open_decisions

    def one_of(self, name: str, options: Sequence[G]) -> G:
        retained = list(dict.fromkeys((options[0], options[-1]))) if name in self._open else [options[-1]]
        return self._inner.one_of(name, retained)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        return self._inner.real(name, low, high, log)


class _Beyond:
    """Chooses values in the domain of open decisions that are not offered; makes closed decisions at random."""

    VALUES = (*range(1, 8), 12, 0.05, *OPS, "2", "2-3")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def one_of(self, name: str, options: Sequence[G]) -> G:
        values = [value for value in self.VALUES if accepted(value, options) and not accepted(value, tuple(options))]
        return cast(G, self._rng.choice(values)) if values else self._rng.choice(list(options))

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        return self._rng.uniform(low, high)


def cuts(space: SearchSpace) -> list[Cut]:
    names = sorted({name for genotype in members(space) for name, _ in genotype.genes})
    return [Cut(space, set(random.Random(seed).sample(names, min(7, len(names))))) for seed in range(6)]


def test_the_space_satisfies_the_protocol(space: SearchSpace) -> None:
    assert isinstance(space, SearchSpace)
    assert SPACES[space.name] is type(space)


def test_replay_gives_an_equal_plan_and_id(space: SearchSpace) -> None:
    for genotype in members(space):
        recorder = DecisionRecorder(ReplayChooser(genotype))
        assert space.decide(recorder) == replay(space, genotype)
        assert recorder.genotype(space).id == genotype.id


def test_plans_are_values(space: SearchSpace) -> None:
    plans = {replay(space, genotype) for genotype in members(space)}
    assert len(plans) > 1


def test_genotypes_survive_json(space: SearchSpace) -> None:
    for genotype in members(space):
        again = Genotype.from_json(json.loads(json.dumps(genotype.to_json())))
        assert again == genotype
        assert again.id == genotype.id
        assert replay(space, again) == replay(space, genotype)


def test_a_decision_has_the_same_options_wherever_it_is_asked(space: SearchSpace) -> None:
    options: dict[str, object] = {}
    for genotype in members(space):
        recorder = DecisionRecorder(ReplayChooser(genotype))
        space.decide(recorder)
        for decision in recorder.decisions:
            assert options.setdefault(decision.name, decision.options) == decision.options


def test_different_members_have_different_plans(space: SearchSpace) -> None:
    for cut in cuts(space):
        genotypes = list(enumerate_all(cut))
        plans = {replay(cut, genotype) for genotype in genotypes}
        assert len({genotype.id for genotype in genotypes}) == len(plans) == len(genotypes)


def test_size_equals_the_odometer(space: SearchSpace) -> None:
    sizes = [size(cut) for cut in cuts(space)]
    assert sizes == [sum(1 for _ in enumerate_all(cut)) for cut in cuts(space)]
    assert max(sizes) > 8


def test_size_is_of_the_whole_space(space: SearchSpace) -> None:
    assert size(space) > 10_000


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.channels}x{spec.height}")
def test_networks_take_images_and_give_logits(space: SearchSpace, spec: InputSpec) -> None:
    for genotype in members(space):
        net = built(space, genotype, spec)
        with torch.no_grad():
            logits = net(images(spec))
        assert logits.shape == (2, spec.classes)
        assert torch.isfinite(logits).all()


def test_networks_are_small_and_every_weight_learns(space: SearchSpace) -> None:
    spec = SPECS[0]
    for genotype in members(space):
        net = built(space, genotype, spec)
        torch.nn.functional.cross_entropy(net(images(spec)), torch.tensor([0, 1])).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        spent = cost(net, spec)
        assert 0 < spent.params <= LARGEST_PARAMS
        assert spent.macs > 0


def test_the_smallest_images_work(space: SearchSpace) -> None:
    spec = InputSpec(3, 8, 8, 2)
    for genotype in members(space, 5):
        with torch.no_grad():
            assert built(space, genotype, spec)(images(spec)).shape == (2, 2)


def test_build_depends_on_torch_random_state_only(space: SearchSpace) -> None:
    genotype = members(space, 1)[0]
    first, second, different = (built(space, genotype, SPECS[0], seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], different[name]) for name in first)


def test_channels_last_gives_the_same_logits(space: SearchSpace) -> None:
    for genotype in members(space, 5):
        net = built(space, genotype, SPECS[1]).eval()
        with torch.no_grad():
            expected = net(images(SPECS[1]))
            got = net.to(memory_format=torch.channels_last)(
                images(SPECS[1]).contiguous(memory_format=torch.channels_last)
            )
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_bf16_autocast_trains(space: SearchSpace) -> None:
    for genotype in members(space, 3):
        net = built(space, genotype, SPECS[0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(images(SPECS[0]))
        torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)


def test_networks_can_be_exported_with_a_free_batch(space: SearchSpace) -> None:
    net = built(space, members(space, 1)[0], SPECS[0]).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    exported = torch.export.export(net, (images(SPECS[0]),), dynamic_shapes={"x": {0: batch}}).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images(SPECS[0], 5)), net(images(SPECS[0], 5)))


def test_mutation_changes_one_decision_and_what_hangs_on_it(space: SearchSpace) -> None:
    for number, genotype in enumerate(members(space)):
        child = mutate(space, genotype, random.Random(number))
        replay(space, child)
        before, after = genotype.as_dict(), child.as_dict()
        changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
        assert len(changed) == 1


def test_children_have_their_parents_genes(space: SearchSpace) -> None:
    parents = members(space)
    for number, (a, b) in enumerate(itertools.pairwise(parents)):
        child = crossover(space, a, b, random.Random(number))
        replay(space, child)
        assert all(
            value in (a.as_dict().get(name), b.as_dict().get(name))
            for name, value in child.genes if name in a.as_dict() or name in b.as_dict()
        )


def test_legal_values_beyond_the_options_are_members_and_can_be_built(space: SearchSpace) -> None:
    beyond = _Beyond(random.Random(f"{space.name}/beyond"))
    for spec in SPECS:
        recorder = DecisionRecorder(beyond)
        plan = space.decide(recorder)
        again = pickle.loads(pickle.dumps(space))
        assert replay(again, recorder.genotype(space)) == plan
        with torch.no_grad():
            assert space.build(plan, spec)(images(spec)).shape == (2, spec.classes)


def test_mutation_and_crossover_keep_legal_values_beyond_the_options(space: SearchSpace) -> None:
    recorder = DecisionRecorder(_Beyond(random.Random(f"{space.name}/beyond")))
    space.decide(recorder)
    genotype = recorder.genotype(space)
    before, child = genotype.as_dict(), mutate(space, genotype, random.Random(0)).as_dict()
    assert sum(before[name] != child[name] for name in before.keys() & child.keys()) == 1
    assert crossover(space, genotype, genotype, random.Random(0)) == genotype


@pytest.mark.parametrize("value", ["moon", -1, 0.5, True, 10**9, "1-1"], ids=str)
def test_illegal_values_are_refused_and_named(space: SearchSpace, value: Any) -> None:
    genotype = members(space, 1)[0]
    for name, value_of_gene in genotype.genes:
        if isinstance(value, type(value_of_gene)) and isinstance(value_of_gene, bool | float):
            continue  # a legal value of this decision
        wrong = Genotype(space.name, space.version, tuple((n, value if n == name else v) for n, v in genotype.genes))
        with pytest.raises(SpaceError, match=rf"gene '{name}' holds .* does not take; it offers "):
            replay(space, wrong)


def test_foreign_genotypes_are_refused(space: SearchSpace) -> None:
    genotype = members(space, 1)[0]
    for stranger in (Genotype("elsewhere", space.version, genotype.genes), Genotype(space.name, 99, genotype.genes)):
        with pytest.raises(SpaceError, match=f"not of '{space.name}' version {space.version}"):
            replay(space, stranger)


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
