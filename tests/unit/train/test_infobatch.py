from __future__ import annotations

import torch

from nas_pipeline.train.infobatch import InfoBatch
from nas_pipeline.train.recipe import Recipe

RECIPE = Recipe(infobatch_ratio=0.5, infobatch_until=0.8)


def after_one_pass(recipe: Recipe = RECIPE) -> InfoBatch:
    """900 images with a small loss and 100 with a large one, all shown once."""
    infobatch = InfoBatch(1000, recipe, seed=0)
    infobatch.record(torch.arange(1000), torch.cat([torch.full((900,), 0.1), torch.full((100,), 3.0)]))
    return infobatch


def test_images_with_a_large_loss_are_always_shown_and_half_of_the_others() -> None:
    subset = after_one_pass().subset(1, 0.3)
    assert subset is not None
    assert set(range(900, 1000)) <= set(subset.tolist())
    assert 380 <= int((subset < 900).sum()) <= 520


def test_each_epoch_leaves_out_other_images_and_can_be_drawn_again() -> None:
    infobatch = after_one_pass()
    first, again, second = (infobatch.subset(number, 0.3) for number in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_all_images_are_shown_at_the_end_before_all_losses_are_known_and_when_it_is_off() -> None:
    assert after_one_pass().subset(9, 0.8) is None
    assert after_one_pass(Recipe(infobatch_ratio=0.0)).subset(1, 0.3) is None
    unseen = InfoBatch(10, RECIPE, seed=0)
    unseen.record(torch.arange(9), torch.ones(9))
    assert unseen.subset(1, 0.3) is None
