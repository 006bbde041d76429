"""The paired comparison of a challenger with the champion: an exact test on images that both classified.

Of n common test images, the champion alone is correct on b and the challenger alone on c; the other images carry no
information about a difference. The loss is the champion's accuracy minus the challenger's; its estimate is (b - c) / n.

Non-inferiority. An upper confidence bound of the loss must be at most the margin. With p_d the probability of a
discordant image and theta the probability that the champion is correct on a discordant image, the loss is
p_d (2 theta - 1). Given b + c, b is binomial (McNemar's conditional argument), so the Clopper-Pearson bounds for theta
(from b of b + c) and for p_d (from b + c of n) are exact, and so is their product by Bonferroni: nine tenths of alpha
are used for theta, one tenth for p_d. "Exact" means that the level holds for every n without a normal approximation;
the bound is slightly conservative.

McNemar. With few images, not even a tie can be shown to be within the margin. In that case, and if the policy allows
it, the challenger passes if its observed loss is at most the margin and the exact one-sided test finds no evidence
that it is worse. That is weaker, since no evidence of a loss is not evidence of no loss; the result names the test.

Sources: McNemar, Psychometrika 12 (1947) 153-157; Clopper & Pearson, Biometrika 26 (1934) 404-413; the margin as in
Tango, Statistics in Medicine 17 (1998) 891-908, whose own test is asymptotic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_pipeline.core.predictions import Predictions
from nas_pipeline.core.records import GateResult
from nas_pipeline.gates.policy import ChampionComparison

_THETA_SHARE = 0.9
"""Share of alpha that is used for the bound of theta."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Counts of the images that both files classified."""

    images: int
    champion_only: int
    """b: correct with the champion, wrong with the challenger."""
    challenger_only: int
    """c: correct with the challenger, wrong with the champion."""

    @property
    def loss(self) -> float:
        """Accuracy of the champion minus that of the challenger; negative where the challenger is better."""
        return (self.champion_only - self.challenger_only) / self.images

    @property
    def discordant(self) -> int:
        """Number of images on which exactly one of the two is correct: b + c."""
        return self.champion_only + self.challenger_only


def pair(challenger: Predictions, champion: Predictions) -> Paired:
    """Counts over the images with equal ids: the two test splits need to overlap, not to be equal.

    An image that is in both test splits was held out from both trainings.
    """
    _, mine, theirs = np.intersect1d(challenger.image_ids, champion.image_ids, return_indices=True)
    new, old = challenger.correct[mine], champion.correct[theirs]
    return Paired(len(mine), int((old & ~new).sum()), int((new & ~old).sum()))


def loss_bound(paired: Paired, alpha: float) -> float:
    """Returns the upper confidence bound of the loss at level 1 - alpha; at least 0."""
    theta = _upper(paired.champion_only, paired.discordant, _THETA_SHARE * alpha)
    return max(0.0, _upper(paired.discordant, paired.images, (1 - _THETA_SHARE) * alpha) * (2 * theta - 1))


def can_be_proved(paired: Paired, margin: float, alpha: float) -> bool:
    """Whether the bound of a tie with the same number of discordant images is within the margin."""
    tie = Paired(paired.images, paired.discordant // 2, paired.discordant - paired.discordant // 2)
    return loss_bound(tie, alpha) <= margin


def p_worse(paired: Paired) -> float:
    """Returns the p-value of the exact one-sided McNemar test: P(at least b of b + c) if both were equally good."""
    from scipy.stats import binom

    return float(binom.sf(paired.champion_only - 1, paired.discordant, 0.5))


def not_worse(
    gate: str, challenger: Predictions, champion: Predictions | None, policy: ChampionComparison, *,
    challenger_version: str, champion_version: str,
) -> GateResult:
    """Returns the result of the paired comparison.

    Args:
        gate: Name of the gate.
        challenger: The challenger's predictions on its test images.
        champion: The champion's; None is treated as no common image.
        policy: Margin, level, and what to do with few images.
        challenger_version: For the reason.
        champion_version: For the reason.

    Returns:
        A result whose figure is a loss of accuracy, or text where no loss could be computed.
    """
    paired = pair(challenger, champion) if champion is not None else Paired(0, 0, 0)
    against = (f"version {champion_version} on {paired.images} images: {paired.champion_only} correct only with "
               f"version {champion_version}, {paired.challenger_only} only with version {challenger_version}")
    if paired.images < policy.min_images:
        reason = (f"{paired.images} test images in common with version {champion_version}, {policy.min_images} are "
                  "needed; champion.when_not_comparable in mlflow/promotion.yaml decides this case")
        return GateResult(gate, policy.when_not_comparable == "accept", "not comparable", policy.margin, reason)
    if can_be_proved(paired, policy.margin, policy.alpha):
        bound = loss_bound(paired, policy.alpha)
        reason = f"loss {paired.loss:+.4f}, at most {bound:.4f} at confidence {1 - policy.alpha:.4g}; against {against}"
        return GateResult(gate, bound <= policy.margin, bound, policy.margin, reason)
    if policy.when_unprovable == "refuse":
        reason = f"too few images to show that any loss is within the margin; against {against}"
        return GateResult(gate, False, "not provable", policy.margin, reason)
    p_value = p_worse(paired)
    reason = (f"too few images to show the margin: exact McNemar test for being worse, p = {p_value:.3g} (red below "
              f"{policy.alpha:g}); against {against}")
    passed = p_value >= policy.alpha and paired.loss <= policy.margin
    return GateResult(gate, passed, paired.loss, policy.margin, reason)


def _upper(successes: int, trials: int, alpha: float) -> float:
    """The one-sided Clopper-Pearson upper bound of a probability; 1 without trials."""
    from scipy.stats import beta

    return 1.0 if successes >= trials else float(beta.ppf(1 - alpha, successes + 1, trials - successes))
