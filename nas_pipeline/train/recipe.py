"""The recipe: every setting of a training except the data, the network, the seed and the budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from nas_pipeline.errors import ConfigError

_T = TypeVar("_T")

PrecisionName = Literal["auto", "fp32", "bf16"]

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _raise_config_errors(cls: type[_T]) -> type[_T]:
    """Makes the constructor of a pydantic dataclass raise `ConfigError`, with the name of each wrong key."""
    validated: Callable[..., None] = cls.__init__

    @functools.wraps(validated)
    def init(self: _T, *args: Any, **settings: Any) -> None:
        try:
            validated(self, *args, **settings)
        except ValidationError as error:
            raise ConfigError("; ".join(_explain(item) for item in error.errors(include_url=False))) from None

    cls.__init__ = init  # type: ignore[assignment]  # the only way to keep pydantic's own validation inside it
    return cls


def _explain(item: Any) -> str:
    """One error of pydantic as `recipe: KEY: what is wrong`."""
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "value_error":
        return f"recipe: {item['ctx']['error']}"
    if item["type"] == "unexpected_keyword_argument":
        return f"recipe: {key}: there is no such key"
    return f"recipe: {key}: {item['msg']}, got {item['input']!r:.80}"


@_raise_config_errors
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Recipe:
    """Training settings, checked on construction.

    The defaults are those that won on Fashion-MNIST (docs/decisions/0008-recipe.md).

    Raises:
        ConfigError: A value has the wrong type or is out of range, or a key is unknown.
    """

    batch_size: Annotated[int, Field(ge=2)] = 128
    """At least 2, because of batch norm."""
    optimiser: str = "sgd"
    """A row of `OPTIMISERS` in optimiser.py."""
    learning_rate: PositiveFloat = 0.1
    muon_learning_rate: PositiveFloat = 0.05
    """Of the orthogonal steps of `muon`; its other parameters use `learning_rate`."""
    weight_decay: NonNegativeFloat = 0.0005
    """On parameters of two and more dimensions; never on biases and normalisation."""
    warmup: FractionBelowOne = 0.15
    """Share of the steps in which the learning rate rises linearly; then it falls along a cosine to zero."""
    label_smoothing: FractionBelowOne = 0.1
    ema_decay: FractionBelowOne = 0.999
    """Decay per step of the moving average of the weights; 0 turns it off."""
    clip_norm: PositiveFloat = 5.0
    """Largest norm of the gradient of all parameters together."""
    flip: bool = True
    """Mirror images left to right. Turn it off where left and right have a meaning (digits, text)."""
    shift: NonNegativeInt = 2
    """Largest random translation in pixels; the border is filled with black."""
    cutout: NonNegativeInt = 8
    """Side in pixels of a square that is blanked in half of the images; 0 turns it off."""
    infobatch_ratio: FractionBelowOne = 0.0
    """Share of the images with a loss below the mean that each epoch leaves out; 0 turns InfoBatch off.

    Source: Qin et al., InfoBatch, arXiv:2303.04947."""
    infobatch_until: Fraction = 0.8
    """Share of the training after which every image is shown in every epoch."""
    low_resolution: FractionBelowOne = 0.0
    """Share of the steps, at the start, with images shrunk to `low_side`: those steps cost less."""
    low_side: Annotated[int, Field(ge=8)] = 20
    """Height and width in pixels of the shrunk images; smaller images are not changed."""
    drop_path: FractionBelowOne = 0.0
    """Probability of dropping a path at the end of the training, rising linearly from 0. Networks of cells only."""
    auxiliary: NonNegativeFloat = 0.0
    """Weight of the loss of the auxiliary head; 0 builds none. Networks of cells only."""
    views: Literal[1, 2, 6] = 1
    """Views of an image that the deployed network averages over, at that many times the latency.

    2: the image and its mirror image. 6: also both moved by one pixel along both diagonals."""
    precision: PrecisionName = "auto"
    """`auto`: the faster one on this host for this kind of network, measured once."""

    @model_validator(mode="after")
    def _views_need_flip(self) -> Recipe:
        if self.views > 1 and not self.flip:
            raise ValueError("views above 1 need flip: the network has to be trained on mirror images too")
        return self

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, for provenance and keys."""
        return asdict(self)
