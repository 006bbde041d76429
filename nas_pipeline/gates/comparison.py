"""Is the challenger not worse than the champion? An exact paired test on images that both were shown. Pure.

Of n images, b are right with the champion only and c with the challenger only; the others say nothing of a difference.
The loss is the champion's accuracy minus the challenger's; it is estimated by (b - c) / n.

Non-inferiority. An upper confidence bound of the loss has to be at most the margin. With p_d the probability of a
discordant image and theta that a discordant one is right with the champion, the loss is p_d (2 theta - 1). Given
b + c, b is binomial (McNemar's conditional argument), so Clopper-Pearson's bounds for theta (from b of b + c) and for
p_d (from b + c of n) are exact, and so is their product by Bonferroni: nine tenths of alpha go to theta, one tenth to
p_d. "Exact" means that the level is kept for every n, with no normal approximation; it is a little conservative.

McNemar. On few images not even a tie could be proved to be within the margin. Where that is so, and the policy allows
it, the challenger passes if its observed loss is at most the margin and the exact one-sided test finds no evidence
that it is worse. That is weaker: no evidence of a loss is not evidence of none; the answer says which test was used.

Sources: McNemar, Psychometrika 12 (1947) 153-157; Clopper & Pearson, Biometrika 26 (1934) 404-413; the margin as in
Tango, Statistics in Medicine 17 (1998) 891-908, whose own test is asymptotic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_pipeline.core.predictions import Predictions

_SHARE_OF_THETA = 0.9


@dataclass(frozen=True, slots=True)
class Paired:
    """Counts of the images that both files were shown."""

    images: int
    champion_only: int
    """b: right with the champion, wrong with the challenger."""
    challenger_only: int
    """c."""

    @property
    def loss(self) -> float:
        """Accuracy of the champion minus that of the challenger; negative where the challenger is better."""
        return (self.champion_only - self.challenger_only) / self.images

    @property
    def discordant(self) -> int:
        """The sum of b and c."""
        return self.champion_only + self.challenger_only


def pair(challenger: Predictions, champion: Predictions) -> Paired:
    """Match images by their ids: the test splits of the two need not be the same, only overlap.

    An image that is in both was held out from both.
    """
    _, mine, theirs = np.intersect1d(challenger.image_ids, champion.image_ids, return_indices=True)
    new, old = challenger.correct[mine], champion.correct[theirs]
    return Paired(len(mine), int((old & ~new).sum()), int((new & ~old).sum()))


def loss_bound(paired: Paired, alpha: float) -> float:
    """Upper confidence bound, of level 1 - alpha, of the loss; at least 0."""
    theta = _upper(paired.champion_only, paired.discordant, _SHARE_OF_THETA * alpha)
    return max(0.0, _upper(paired.discordant, paired.images, (1 - _SHARE_OF_THETA) * alpha) * (2 * theta - 1))


def can_be_proved(paired: Paired, margin: float, alpha: float) -> bool:
    """Whether a tie with so many discordant images would be proved to lie within the margin."""
    tie = Paired(paired.images, paired.discordant // 2, paired.discordant - paired.discordant // 2)
    return loss_bound(tie, alpha) <= margin


def p_worse(paired: Paired) -> float:
    """Exact one-sided McNemar: the probability of at least b of b + c if both were equally good."""
    from scipy.stats import binom

    return float(binom.sf(paired.champion_only - 1, paired.discordant, 0.5))


def _upper(successes: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson's one-sided upper bound of a probability; 1 where nothing was tried."""
    from scipy.stats import beta

    return 1.0 if successes >= trials else float(beta.ppf(1 - alpha, successes + 1, trials - successes))
