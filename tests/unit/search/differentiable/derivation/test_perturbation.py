"""Derivation by perturbation, with a search network that is a table of the worth of each operation."""

from __future__ import annotations

import torch

from nas_pipeline.search.differentiable.derivation.perturbation import (
    Masks,
    PerturbationScore,
    masked,
    perturbation_picks,
)
from nas_pipeline.search.differentiable.network.mixing import KINDS, KindMixing, edges
from nas_pipeline.train.randomness import generator

OPS = ("none", "skip_connect", "sep_conv_3x3")


def test_it_selects_by_the_loss_of_removal_not_by_the_weight() -> None:
    rows = edges(2)
    worth = {kind: torch.rand(len(rows), 3, generator=generator(f"worth/{kind}")) for kind in KINDS}
    worth["normal"][:, 0] = worth["reduce"][:, 0] = 100.0  # costs most, never selected
    alphas = {kind: KindMixing((-worth[kind]).softmax(1)) for kind in KINDS}
    tuned: list[dict[str, torch.Tensor]] = []

    def evaluate(masks: Masks) -> PerturbationScore:
        weights = masked(alphas, masks)
        return float(sum(((weights[k].op_weights > 0) * worth[k]).sum() for k in KINDS)), 0.0

    picks = perturbation_picks(KINDS, OPS, 2, evaluate, lambda masks: tuned.append(dict(masks)), generator("order"))
    for kind in KINDS:
        best = worth[kind][:, 1:].argmax(1) + 1
        value = worth[kind].gather(1, best[:, None])[:, 0]
        inner = sorted((value[edge].item(), edge) for edge in (2, 3, 4))[1:]
        retained = sorted([0, 1, *(edge for _, edge in inner)])
        assert picks[kind] == tuple((edge, OPS[best[edge]]) for edge in retained)
    assert len(tuned) == len(rows) + 2


def test_masks_replace_only_what_they_name() -> None:
    mask = torch.tensor([[float("nan"), 0.0], [1.0, float("nan")]])
    mixed = masked({"normal": KindMixing(torch.full((2, 2), 0.5), torch.tensor([0.3, 0.7]))}, {"normal": mask})
    assert mixed["normal"].op_weights.tolist() == [[0.5, 0.0], [1.0, 0.5]]
    assert mixed["normal"].chosen is None


def test_the_loss_decides_where_accuracies_are_equal() -> None:
    def evaluate(masks: Masks) -> PerturbationScore:
        return 0.5, -float((masks["normal"][:, 1] == 0).sum())  # the loss rises with each removed skip

    picks = perturbation_picks(("normal",), OPS, 1, evaluate, lambda masks: None, generator("order"))
    assert picks["normal"] == ((0, "skip_connect"), (1, "skip_connect"))
