"""A recipe: every setting of a training but the data, the network, the seed and the budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nas_pipeline.errors import ConfigError

PrecisionName = Literal["auto", "fp32", "bf16"]
PRECISION_NAMES: tuple[str, ...] = get_args(PrecisionName)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Training settings. The defaults are those that won on Fashion-MNIST (docs/decisions/0008-recipe.md)."""

    batch_size: int = 128
    optimiser: str = "sgd"
    """A row of `OPTIMISERS` in optimiser.py."""
    learning_rate: float = 0.1
    muon_learning_rate: float = 0.05
    """Of the orthogonal steps, which only `muon` takes; everything else then goes by `learning_rate`."""
    weight_decay: float = 0.0005
    """On weights of two and more dimensions; never on biases and normalisation."""
    warmup: float = 0.15
    """Share of the steps in which the learning rate climbs; then it falls along a cosine to zero."""
    label_smoothing: float = 0.1
    ema_decay: float = 0.999
    """Per step; 0 turns the moving average of the weights off."""
    clip_norm: float = 5.0
    flip: bool = True
    """Mirror left-right. Turn it off where left and right mean something (digits, text)."""
    shift: int = 2
    """Translation by up to that many pixels, edges filled with black."""
    cutout: int = 8
    """Side in pixels of a square blanked in half of the images; 0 turns it off."""
    prune: float = 0.0
    """Share of the easy images (loss under the mean) that each pass leaves out; 0 shows all images in every pass."""
    prune_until: float = 0.8
    """Share of the training after which every image is shown again."""
    low_resolution: float = 0.0
    """Share of the steps, at the start, that see images shrunk to `low_side`: those steps cost less."""
    low_side: int = 20
    """Height and width in pixels of the shrunk images; images that are not larger stay as they are."""
    drop_path: float = 0.0
    """Probability of losing a path at the end of the training, from 0 along a line; networks of cells have paths."""
    auxiliary: float = 0.0
    """Weight of the loss of a second classifier behind the second reduction; networks of cells have one, unless 0."""
    views: Literal[1, 2, 6] = 1
    """The finished network averages over so many views of an image, at so many times the latency: 2 are the image and
    its mirror image, 6 these two moved by one pixel each way as well."""
    precision: PrecisionName = "auto"
    """`auto`: the faster one on this host for this kind of network, measured once."""

    def __post_init__(self) -> None:
        checks = {
            f"precision must be one of {', '.join(PRECISION_NAMES)}": self.precision in PRECISION_NAMES,
            "batch_size must be at least 2 (batch norm)": self.batch_size >= 2,
            "learning rates must be positive": min(self.learning_rate, self.muon_learning_rate) > 0,
            "weight_decay must not be negative": self.weight_decay >= 0,
            "warmup must be in [0, 1)": 0 <= self.warmup < 1,
            "label_smoothing must be in [0, 1)": 0 <= self.label_smoothing < 1,
            "ema_decay must be in [0, 1)": 0 <= self.ema_decay < 1,
            "prune must be in [0, 1) and prune_until in [0, 1]": 0 <= self.prune < 1 and 0 <= self.prune_until <= 1,
            "clip_norm must be positive": self.clip_norm > 0,
            "shift and cutout must not be negative": min(self.shift, self.cutout) >= 0,
            "low_resolution must be in [0, 1)": 0 <= self.low_resolution < 1,
            "drop_path must be in [0, 1)": 0 <= self.drop_path < 1,
            "auxiliary must not be negative": self.auxiliary >= 0,
            "low_side must be at least 8": self.low_side >= 8,
            "views must be 1, 2 or 6": self.views in (1, 2, 6),
            "views above 1 need flip: a network that never saw mirror images must not be asked about them":
                self.flip or self.views == 1,
        }
        for rule, holds in checks.items():
            if not holds:
                raise ConfigError(f"recipe: {rule}")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for provenance and keys."""
        return asdict(self)
