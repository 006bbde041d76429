from __future__ import annotations

import torch

from nas_pipeline.train.infobatch import EasyImages
from nas_pipeline.train.recipe import Recipe

RECIPE = Recipe(prune=0.5, prune_until=0.8)


def after_one_pass(recipe: Recipe = RECIPE) -> EasyImages:
    """900 easy images and 100 hard ones, all seen once."""
    easy = EasyImages(1000, recipe, seed=0)
    easy.note(torch.arange(1000), torch.cat([torch.full((900,), 0.1), torch.full((100,), 3.0)]))
    return easy


def test_hard_images_are_always_kept_and_half_of_the_easy_ones() -> None:
    kept = after_one_pass().kept(1, 0.3)
    assert kept is not None
    assert set(range(900, 1000)) <= set(kept.tolist())
    assert 380 <= int((kept < 900).sum()) <= 520


def test_each_pass_leaves_out_others_and_can_be_drawn_again() -> None:
    easy = after_one_pass()
    first, again, second = (easy.kept(number, 0.3) for number in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_nothing_is_left_out_at_the_end_before_all_are_known_or_when_it_is_off() -> None:
    assert after_one_pass().kept(9, 0.8) is None
    assert after_one_pass(Recipe(prune=0.0)).kept(1, 0.3) is None
    unseen = EasyImages(10, RECIPE, seed=0)
    unseen.note(torch.arange(9), torch.ones(9))
    assert unseen.kept(1, 0.3) is None
