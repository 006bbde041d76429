"""Matplotlib figures for all drawings. The unit of the y axis is a line of text, that of the x axis an inch.

Equal content gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_pipeline.core.files import atomic_path
from nas_pipeline.core.genotype import Genotype
from nas_pipeline.errors import ConfigError

FigureWriter = Callable[[Figure], None]
"""Function that writes a finished figure to its file."""

INK, GREY, LINE = "#1f2933", "#66727f", "#b8c2cc"
ROW_IN, WIDTH_IN = 0.42, 9.6
_PNG_DPI = 150
_METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}


def canvas(width: float, above: float, below: float) -> tuple[Figure, Axes]:
    """Return a figure of `width` inches; its y axis runs from -`above` down to `below`, in lines."""
    figure = Figure(figsize=(width, (above + below) * ROW_IN))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(below, -above))
    axes.axis("off")
    return figure, axes


@contextmanager
def saved(genotype: Genotype, path: Path) -> Iterator[FigureWriter]:
    """Set the drawing defaults and yield a function that writes a figure to `path` as SVG or PNG, by its suffix.

    Raises:
        ConfigError: The suffix is neither .svg nor .png.
    """
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise ConfigError(f"cannot draw {path.name}: the suffix must be {' or '.join(_METADATA)}")

    def write(figure: Figure) -> None:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=_PNG_DPI, facecolor="white", metadata=_METADATA[suffix])

    with mpl.rc_context({
        "svg.hashsalt": genotype.id, "svg.fonttype": "none", "font.family": "DejaVu Sans", "text.parse_math": False,
    }):
        yield write
