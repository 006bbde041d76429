"""Guards against a search that collapses to skip connections: measures after each epoch, and decisions.

All are pure functions of the rows so far, so a resumed search decides as an uninterrupted one. Each decision is a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable.derivation.integer_program import NONE, SKIP

EpochRow = dict[str, Any]
"""Measures of one epoch, or one decision of a guard, as JSON data."""

_WITHOUT_WEIGHTS = {NONE, SKIP, "avg_pool_3x3", "max_pool_3x3"}


@dataclass(frozen=True, kw_only=True)
class Guards:
    """Settings of the guards; `None` or 0 turns a guard off."""

    beta_decay: float = 0.0
    """Final weight of mean(logsumexp(alpha)) in the loss of the alphas, rising linearly from 0 (50 in the paper).

    Source: Ye et al., arXiv:2203.01665."""
    skip_cap: int | None = 2
    """Largest number of skip connections in the derived normal cell. Source: Chen et al., arXiv:1904.12760, 3.3."""
    skip_dropout: float = 0.0
    """Probability of dropping the skip connection of an edge in a weight step, falling linearly to 0.

    P-DARTS (section 3.3) drops single values of the output of the skip; here the whole output is dropped."""
    stop_skips: int | None = 2
    """Stop at this number of skips in the normal cell. Source: Liang et al., DARTS+, arXiv:1909.06035, criterion 1."""
    stop_stable: int | None = 10
    """Stop when the strongest operation with weights of every edge is unchanged for so many epochs (criterion 2)."""
    stop_from: float = 0.5
    """Share of the epochs before which neither criterion stops the search: the first rankings are noise."""
    eigenvalue_every: int = 1
    """Epochs between two measurements of the dominant Hessian eigenvalue; 0 turns it off."""
    eigenvalue_window: int = 5
    """Number of measurements per average, and the distance of the two averages that are compared."""
    eigenvalue_ratio: float = 0.75
    """Stop when the earlier average is less than this share of the later one. Source: Zela, arXiv:1909.09656, 4.3."""
    roll_back: bool = True
    """After that stop, derive from the epoch of the earlier average, not from the last epoch."""

    def __post_init__(self) -> None:
        rules = {
            "beta_decay must not be negative": self.beta_decay >= 0,
            "skip_cap must not be negative": self.skip_cap is None or self.skip_cap >= 0,
            "skip_dropout must be in [0, 1)": 0 <= self.skip_dropout < 1,
            "stop_skips and stop_stable must be at least 1":
                all(limit is None or limit >= 1 for limit in (self.stop_skips, self.stop_stable)),
            "stop_from must be in [0, 1]": 0 <= self.stop_from <= 1,
            "eigenvalue_every must not be negative": self.eigenvalue_every >= 0,
            "eigenvalue_window must be at least 1": self.eigenvalue_window >= 1,
            "eigenvalue_ratio must be in (0, 1]": 0 < self.eigenvalue_ratio <= 1,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"differentiable search: {rule}")

    def beta_decay_at(self, progress: float) -> float:
        """Returns the weight of beta decay at `progress` in [0, 1]."""
        return self.beta_decay * progress

    def skip_dropout_at(self, progress: float) -> float:
        """Returns the probability of skip dropout at `progress` in [0, 1]."""
        return self.skip_dropout * (1 - progress)


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """Decision of the guards after an epoch."""

    stop: bool
    epoch: int
    """Number of the epoch whose alphas the cell is derived from."""
    decisions: tuple[EpochRow, ...]


def apply_guards(rows: Sequence[EpochRow], guards: Guards, epochs: int) -> GuardVerdict:
    """Decides whether the search ends after the last of `rows`, and from which epoch the cell is derived.

    Args:
        rows: One per epoch: epoch, skips_normal, top_learnable; eigenvalue and alpha_loss, which may be None.
        guards: Settings.
        epochs: Number of epochs of the search if no guard ends it.
    """
    last = int(rows[-1]["epoch"])
    decisions: list[EpochRow] = []
    growth = _eigenvalue_growth(rows, guards)
    if growth is not None:
        earlier_epoch, why = growth
        derived_from = earlier_epoch if guards.roll_back else last
        decisions.append(_decision(last, "eigenvalue", "stop", why))
        if derived_from != last:
            decisions.append(_decision(last, "eigenvalue", f"roll back to epoch {derived_from}", why))
        return GuardVerdict(True, derived_from, tuple(decisions))
    if last + 1 > guards.stop_from * epochs:
        skips = int(rows[-1]["skips_normal"])
        if guards.stop_skips is not None and skips >= guards.stop_skips:
            decisions.append(_decision(last, "skips", "stop", f"{skips} skip connections in the normal cell"))
        stable = stable_epochs(rows)
        if guards.stop_stable is not None and stable >= guards.stop_stable:
            decisions.append(_decision(last, "ranking", "stop", f"the ranking has been unchanged for {stable} epochs"))
    return GuardVerdict(bool(decisions), last, tuple(decisions))


def stable_epochs(rows: Sequence[EpochRow]) -> int:
    """Returns how many epochs directly before the last one had its ranking; epochs of the warm-up do not count."""
    count = 0
    for row in reversed(rows[:-1]):
        if row["top_learnable"] != rows[-1]["top_learnable"] or row["alpha_loss"] is None:
            break
        count += 1
    return count


def entropy(alphas: Tensor) -> float:
    """Returns the mean over the edges of the entropy of softmax(alphas [E, O]), as a share of its maximum."""
    logs = alphas.detach().double().log_softmax(dim=1)
    return float(-(logs.exp() * logs).sum(1).mean() / torch.log(torch.tensor(max(2, alphas.shape[1]))))


def top_learnable(alphas: Mapping[str, Tensor], ops: Sequence[str]) -> list[int]:
    """Returns the column of the strongest operation with weights, edge by edge; empty if no operation has weights."""
    columns = [column for column, op in enumerate(ops) if op not in _WITHOUT_WEIGHTS]
    if not columns:
        return []
    return [columns[index] for table in alphas.values() for index in table.detach()[:, columns].argmax(1).tolist()]


def beta_decay(alphas: Sequence[Tensor]) -> Tensor:
    """Returns the mean over all edges of logsumexp(alpha), whose gradient is largest for the largest alphas.

    Source: Ye et al., arXiv:2203.01665.
    """
    return torch.cat([table.logsumexp(dim=1) for table in alphas]).mean()


def _eigenvalue_growth(rows: Sequence[EpochRow], guards: Guards) -> tuple[int, str] | None:
    """Returns (epoch of the earlier average, explanation) if the eigenvalue grew too much, else None."""
    measured = [row for row in rows if row.get("eigenvalue") is not None]
    window, half = guards.eigenvalue_window, guards.eigenvalue_window // 2
    if not guards.eigenvalue_every or len(measured) < 2 * window or measured[-1]["epoch"] != rows[-1]["epoch"]:
        return None
    later = sum(row["eigenvalue"] for row in measured[-window:]) / window
    earlier = sum(row["eigenvalue"] for row in measured[-2 * window : -window]) / window
    if later <= 0 or earlier / later >= guards.eigenvalue_ratio:
        return None
    epoch = int(measured[-2 * window + half]["epoch"])
    return epoch, f"the dominant eigenvalue grew from {earlier:.3g} (around epoch {epoch}) to {later:.3g}"


def _decision(epoch: int, guard: str, action: str, why: str) -> EpochRow:
    return {"epoch": epoch, "guard": guard, "action": action, "why": why}
