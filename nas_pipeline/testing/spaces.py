"""The contract of spaces: identities, networks, mutation and crossover, legal and illegal values."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch

from nas_pipeline.core.genotype import Genotype
from nas_pipeline.core.protocols import Chooser, G, SearchSpace
from nas_pipeline.core.records import InputSpec
from nas_pipeline.errors import SpaceError
from nas_pipeline.space.choosers import DecisionRecorder, ReplayChooser, crossover, mutate, replay, sample
from nas_pipeline.space.cost import cost
from nas_pipeline.space.enumeration import size
from nas_pipeline.space.ops import OPS
from nas_pipeline.space.options import accepted
from nas_pipeline.testing.keys import check_key
from nas_pipeline.testing.odometer import enumerate_all

SPECS = [InputSpec(1, 28, 28, 10), InputSpec(3, 32, 32, 5)]
DRAWS = 20


def members(space: SearchSpace, n: int = DRAWS) -> list[Genotype]:
    """Returns `n` random members."""
    return [sample(space, random.Random(f"{space.name}/{number}")) for number in range(n)]


def built(space: SearchSpace, genotype: Genotype, spec: InputSpec, seed: int = 0) -> torch.nn.Module:
    """Returns the network of `genotype`."""
    torch.manual_seed(seed)
    return space.build(replay(space, genotype), spec)


def images(spec: InputSpec, n: int = 2) -> torch.Tensor:
    """Returns `n` random images, [n, channels, height, width]."""
    return torch.randn(n, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(1))


class _Subspace:
    """A space with the first and last option of a few decisions and the last of all others: small enough to list."""

    def __init__(self, space: SearchSpace, open_decisions: set[str]) -> None:
        self.name, self.version = space.name, space.version
        self._space, self._open = space, open_decisions

    def key(self) -> dict[str, object]:
        return self._space.key()

    def decide(self, choose: Chooser) -> Any:
        return self._space.decide(_SubspaceChooser(choose, self._open))

    def build(self, plan: Any, spec: InputSpec) -> torch.nn.Module:
        return self._space.build(plan, spec)


class _SubspaceChooser:
    def __init__(self, inner: Chooser, open_decisions: set[str]) -> None:
        self._inner, self._open = inner, open_decisions

    def one_of(self, name: str, options: Sequence[G]) -> G:
        offered = list(dict.fromkeys((options[0], options[-1]))) if name in self._open else [options[-1]]
        return self._inner.one_of(name, offered)

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        return self._inner.real(name, low, high, log)


class _Beyond:
    """Makes open decisions with legal values that are not offered, closed ones at random."""

    VALUES = (*range(1, 8), 12, 0.05, *OPS, "2", "2-3")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def one_of(self, name: str, options: Sequence[G]) -> G:
        values = [value for value in self.VALUES if accepted(value, options) and not accepted(value, tuple(options))]
        return cast(G, self._rng.choice(values)) if values else self._rng.choice(list(options))

    def real(self, name: str, low: float, high: float, log: bool = False) -> float:
        return self._rng.uniform(low, high)


def subspaces(space: SearchSpace) -> list[_Subspace]:
    """Returns six small subspaces."""
    names = sorted({name for genotype in members(space) for name, _ in genotype.genes})
    return [_Subspace(space, set(random.Random(seed).sample(names, min(7, len(names))))) for seed in range(6)]


class SpaceContract:
    """Subclasses override the fixture `space`."""

    least_members = 10_000
    largest_params = 1_300_000
    """About a megabyte with one byte per weight."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space under test, with its default options."""
        raise NotImplementedError("override the fixture `space`")

    def test_key_names_the_space(self, space: SearchSpace) -> None:
        """The space has the methods of the protocol; its key is plain data with name and version."""
        assert isinstance(space, SearchSpace)
        assert space.key()["name"] == space.name
        check_key(space)

    def test_replay_gives_an_equal_plan_and_id(self, space: SearchSpace) -> None:
        """Replaying a genotype makes the same decisions."""
        for genotype in members(space):
            recorder = DecisionRecorder(ReplayChooser(genotype))
            assert space.decide(recorder) == replay(space, genotype)
            assert recorder.genotype(space).id == genotype.id

    def test_plans_are_values(self, space: SearchSpace) -> None:
        """Plans are hashable values."""
        plans = {replay(space, genotype) for genotype in members(space)}
        assert len(plans) > 1

    def test_genotypes_survive_json(self, space: SearchSpace) -> None:
        """A genotype read from JSON is equal to the written one."""
        for genotype in members(space):
            again = Genotype.from_json(json.loads(json.dumps(genotype.to_json())))
            assert again == genotype
            assert again.id == genotype.id
            assert replay(space, again) == replay(space, genotype)

    def test_a_decision_has_the_same_options_wherever_it_is_asked(self, space: SearchSpace) -> None:
        """The options of a decision do not depend on other decisions."""
        options: dict[str, object] = {}
        for genotype in members(space):
            recorder = DecisionRecorder(ReplayChooser(genotype))
            space.decide(recorder)
            for decision in recorder.decisions:
                assert options.setdefault(decision.name, decision.options) == decision.options

    def test_different_members_have_different_plans(self, space: SearchSpace) -> None:
        """No two genotypes have the same plan."""
        for subspace in subspaces(space):
            genotypes = list(enumerate_all(subspace))
            plans = {replay(subspace, genotype) for genotype in genotypes}
            assert len({genotype.id for genotype in genotypes}) == len(plans) == len(genotypes)

    def test_size_equals_the_odometer(self, space: SearchSpace) -> None:
        """The counted size is that of the enumeration, in small subspaces."""
        sizes = [size(subspace) for subspace in subspaces(space)]
        assert sizes == [sum(1 for _ in enumerate_all(subspace)) for subspace in subspaces(space)]
        assert max(sizes) > 8

    def test_size_is_of_the_whole_space(self, space: SearchSpace) -> None:
        """The space has at least `least_members` members."""
        assert size(space) > self.least_members

    @pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.channels}x{spec.height}")
    def test_networks_take_images_and_give_logits(self, space: SearchSpace, spec: InputSpec) -> None:
        """Networks map [N, C, H, W] to finite logits [N, classes]."""
        for genotype in members(space):
            net = built(space, genotype, spec)
            with torch.no_grad():
                logits = net(images(spec))
            assert logits.shape == (2, spec.classes)
            assert torch.isfinite(logits).all()

    def test_networks_are_small_and_every_weight_learns(self, space: SearchSpace) -> None:
        """Every parameter gets a finite gradient; no network has more than `largest_params`."""
        spec = SPECS[0]
        for genotype in members(space):
            net = built(space, genotype, spec)
            torch.autograd.backward(torch.nn.functional.cross_entropy(net(images(spec)), torch.tensor([0, 1])))
            for name, parameter in net.named_parameters():
                assert parameter.grad is not None, name
                assert torch.isfinite(parameter.grad).all(), name
            spent = cost(net, spec)
            assert 0 < spent.params <= self.largest_params
            assert spent.macs > 0

    def test_the_smallest_images_work(self, space: SearchSpace) -> None:
        """Images of 8 x 8 pixels are large enough."""
        spec = InputSpec(3, 8, 8, 2)
        for genotype in members(space, 5):
            with torch.no_grad():
                assert built(space, genotype, spec)(images(spec)).shape == (2, 2)

    def test_build_depends_on_torch_random_state_only(self, space: SearchSpace) -> None:
        """Equal random states give equal weights."""
        genotype = members(space, 1)[0]
        first, second, third = (built(space, genotype, SPECS[0], seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert any(not torch.equal(first[name], third[name]) for name in first)

    def test_channels_last_gives_the_same_logits(self, space: SearchSpace) -> None:
        """The memory format does not change the logits."""
        for genotype in members(space, 5):
            net = built(space, genotype, SPECS[1]).eval()
            with torch.no_grad():
                expected = net(images(SPECS[1]))
                for tensor in (*net.parameters(), *net.buffers()):
                    if tensor.ndim == 4:
                        tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
                logits = net(images(SPECS[1]).contiguous(memory_format=torch.channels_last))
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)

    def test_bf16_autocast_trains(self, space: SearchSpace) -> None:
        """Training in bfloat16 gives finite gradients."""
        for genotype in members(space, 3):
            net = built(space, genotype, SPECS[0])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = net(images(SPECS[0]))
            torch.autograd.backward(torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1])))
            gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
            assert all(torch.isfinite(gradient).all() for gradient in gradients)

    def test_networks_can_be_exported_with_a_free_batch(self, space: SearchSpace) -> None:
        """`torch.export` works with a batch of any size."""
        net = built(space, members(space, 1)[0], SPECS[0]).eval()
        batch = torch.export.Dim("batch", min=1, max=4096)
        exported = torch.export.export(net, (images(SPECS[0]),), dynamic_shapes={"x": {0: batch}}).module()
        with torch.no_grad():
            torch.testing.assert_close(exported(images(SPECS[0], 5)), net(images(SPECS[0], 5)))

    def test_mutation_changes_one_decision_and_what_hangs_on_it(self, space: SearchSpace) -> None:
        """A mutated member differs in exactly one decision that both have."""
        for number, genotype in enumerate(members(space)):
            child = mutate(space, genotype, random.Random(number))
            replay(space, child)
            before, after = genotype.as_dict(), child.as_dict()
            changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
            assert len(changed) == 1

    def test_children_have_their_parents_genes(self, space: SearchSpace) -> None:
        """Every gene of a child comes from a parent, where a parent has it."""
        parents = members(space)
        for number, (a, b) in enumerate(itertools.pairwise(parents)):
            child = crossover(space, a, b, random.Random(number))
            replay(space, child)
            assert all(
                value in (a.as_dict().get(name), b.as_dict().get(name))
                for name, value in child.genes if name in a.as_dict() or name in b.as_dict()
            )

    def test_legal_values_beyond_the_options_are_members_and_can_be_built(self, space: SearchSpace) -> None:
        """Legal values that the options do not list can be replayed and built."""
        beyond = _Beyond(random.Random(f"{space.name}/beyond"))
        for spec in SPECS:
            recorder = DecisionRecorder(beyond)
            plan = space.decide(recorder)
            again = pickle.loads(pickle.dumps(space))
            assert replay(again, recorder.genotype(space)) == plan
            with torch.no_grad():
                assert space.build(plan, spec)(images(spec)).shape == (2, spec.classes)

    def test_mutation_and_crossover_keep_legal_values_beyond_the_options(self, space: SearchSpace) -> None:
        """Mutation and crossover keep legal values that the options do not list."""
        recorder = DecisionRecorder(_Beyond(random.Random(f"{space.name}/beyond")))
        space.decide(recorder)
        genotype = recorder.genotype(space)
        before, child = genotype.as_dict(), mutate(space, genotype, random.Random(0)).as_dict()
        assert sum(before[name] != child[name] for name in before.keys() & child.keys()) == 1
        assert crossover(space, genotype, genotype, random.Random(0)) == genotype

    @pytest.mark.parametrize("value", ["moon", -1, 0.5, True, 10**9, "1-1"], ids=str)
    def test_illegal_values_are_refused_and_named(self, space: SearchSpace, value: Any) -> None:
        """An illegal value of any gene is an error that names the gene."""
        genotype = members(space, 1)[0]
        for name, legal in genotype.genes:
            if isinstance(value, type(legal)) and isinstance(legal, bool | float):
                continue  # a legal value of this decision
            genes = tuple((n, value if n == name else v) for n, v in genotype.genes)
            wrong = Genotype(space.name, space.version, genes)
            with pytest.raises(SpaceError, match=rf"gene '{name}' holds .* does not take; it offers "):
                replay(space, wrong)

    def test_foreign_genotypes_are_refused(self, space: SearchSpace) -> None:
        """Genotypes of other spaces and versions are errors."""
        genotype = members(space, 1)[0]
        for foreign in (Genotype("elsewhere", space.version, genotype.genes), Genotype(space.name, 99, genotype.genes)):
            with pytest.raises(SpaceError, match=f"not of '{space.name}' version {space.version}"):
                replay(space, foreign)
