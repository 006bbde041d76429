"""A search finds the only operation that separates the classes, and it does not collapse."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_pipeline.data.loaders import SearchData
from nas_pipeline.search.differentiable.derivation.integer_program import NONE
from nas_pipeline.search.differentiable.run import DifferentiableSearch
from nas_pipeline.search.differentiable.settings import Settings
from nas_pipeline.search.differentiable.variants import Variant
from nas_pipeline.search.protocols import Derived
from nas_pipeline.space.cell import CellSpace
from nas_pipeline.space.choosers import sample
from nas_pipeline.train.recipe import Recipe
from tests.unit.search.differentiable.toy_images import bars, shades

OPS = (NONE, "skip_connect", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5")
WIDE = "sep_conv_5x5"
"""The stem has a window of 3 pixels, so the first rectified convolution has one of 7: only it covers a near pair."""

UNGUARDED: dict[str, Any] = {"stop_skips": None, "stop_stable": None, "eigenvalue_every": 0, "skip_cap": None}
TOY: dict[str, Any] = {
    "cells": 1, "nodes": 1, "width": 8, "ops": OPS, "epochs": 10, "batch_size": 64, "learning_rate": 0.2,
    "alpha_learning_rate": 0.04, **UNGUARDED,
}
STILL = Recipe(shift=0, flip=False)


def search(data: SearchData, seed: int, folder: Path, variant: Variant | None = None, **options: Any) -> Derived:
    search_ = DifferentiableSearch(Settings(**options), variant or Variant("darts"))
    return search_.run(data, seed, folder, device=torch.device("cpu"), recipe=STILL)


def has_wide_pair(genes: dict[str, Any]) -> bool:
    """Whether the reduction cell, the only one of the network, has the wide operation on both edges."""
    return {genes["reduce.node0.op0"], genes["reduce.node0.op1"]} == {WIDE}


def test_the_wide_operation_is_derived_where_only_it_separates_the_classes(tmp_path: Path) -> None:
    hits = [has_wide_pair(search(bars(512, seed), seed, tmp_path, **TOY).genotype.as_dict()) for seed in range(10)]
    assert sum(hits) >= 9


def test_random_cells_of_the_same_space_do_not_have_it() -> None:
    space = CellSpace(nodes=1, ops=OPS[1:])
    drawn = [has_wide_pair(sample(space, random.Random(f"{seed}/toy")).as_dict()) for seed in range(200)]
    assert sum(drawn) < 0.15 * len(drawn)


def test_without_the_wide_operation_nothing_separates_the_classes(tmp_path: Path) -> None:
    with_wide, without_wide = (search(bars(512, 0), 0, tmp_path, **{**TOY, "ops": ops}) for ops in (OPS, OPS[:-1]))
    assert with_wide.rows[-1]["alpha_loss"] < 0.3
    assert without_wide.rows[-1]["alpha_loss"] > 0.6  # guessing gives 0.69


def test_the_other_searches_find_it_too(tmp_path: Path) -> None:
    variants = {Variant("pc_darts", partial=2): 14, Variant("gdas", first_temperature=3, last_temperature=0.3): 25}
    for variant, epochs in variants.items():
        derived = search(bars(512, 0), 0, tmp_path, variant, **{**TOY, "epochs": epochs})
        shares = torch.tensor(derived.rows[-1]["alphas"]["reduce"]).softmax(1)
        # One edge is enough: gdas has one operation per edge, and the other edge then has no effect on the loss.
        assert shares.max(1).values.max() == shares[:, OPS.index(WIDE)].max() > 0.5


COLLAPSE: dict[str, Any] = {
    "cells": 3, "nodes": 2, "width": 4, "ops": ("skip_connect", "sep_conv_3x3", "dil_conv_3x3"), "epochs": 20,
    "batch_size": 24, "learning_rate": 0.1, "alpha_learning_rate": 0.1, "eval_cells": 3, "eval_width": 4,
    "penalties": {"params": 100.0},
}
"""Few images, many epochs, and a penalty on parameters that outweighs their use."""


def noisy(count: int, seed: int) -> SearchData:
    """Three in ten labels are wrong: fitting them raises the loss on other images."""
    data = shades(count, seed)
    data.train.labels[np.random.default_rng(seed).random(count) < 0.3] ^= 1
    return data


def normal_skips(derived: Derived) -> int:
    return sum(value == "skip_connect" for gene, value in derived.genotype.genes if gene.startswith("normal."))


def test_a_planted_collapse_is_stopped(tmp_path: Path) -> None:
    collapsed = search(noisy(48, 0), 0, tmp_path, **{**COLLAPSE, **UNGUARDED})
    assert (normal_skips(collapsed), len(collapsed.rows), collapsed.rows[-1]["skips_normal"]) == (4, 20, 4)
    guarded = search(noisy(48, 0), 0, tmp_path, **COLLAPSE, eigenvalue_every=0)
    assert normal_skips(guarded) <= 2
    assert len(guarded.rows) == 11  # none stops in the first half
    assert guarded.decisions[0]["guard"] == "skips"


def test_beta_decay_weakens_the_effect_of_a_penalty(tmp_path: Path) -> None:
    plain, decayed = (
        search(noisy(48, 0), 0, tmp_path, **{**COLLAPSE, **UNGUARDED, "epochs": 10, "beta_decay": weight})
        for weight in (0.0, 1000.0)
    )
    assert decayed.rows[-1]["entropy_normal"] > plain.rows[-1]["entropy_normal"] + 0.05


def test_overfitting_raises_the_curvature_and_is_rolled_back(tmp_path: Path) -> None:
    options = {**COLLAPSE, "nodes": 1, "ops": ("skip_connect", "sep_conv_3x3"), "penalties": None,
               "learning_rate": 0.2, "alpha_learning_rate": 0.02, "eigenvalue_window": 3}
    derived = search(noisy(48, 0), 0, tmp_path, **{**options, "stop_skips": None, "stop_stable": None})
    assert [decision["guard"] for decision in derived.decisions] == ["eigenvalue", "eigenvalue", "derivation"]
    stopped, rolled_back = derived.rows[-1]["epoch"], derived.decisions[-1]["epoch"]
    assert rolled_back < stopped < 19
    assert derived.genotype.id == derived.rows[rolled_back]["genotype_id"]
    assert derived.rows[stopped]["eigenvalue"] > derived.rows[rolled_back]["eigenvalue"]
