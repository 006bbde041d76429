"""RGB images of five kinds that a small network learns in seconds, written as files: what a stranger brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("checks", "discs", "rings", "stripes-across", "stripes-down")


def picture(kind: str, stream: np.random.Generator, side: int = 64) -> np.ndarray:
    """uint8 [side, side, 3]: the pattern in a colour of its own on another, at a place of its own, with noise."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    wave = stream.uniform(3.0, 5.0)
    phase = stream.uniform(0.0, 2 * np.pi, size=2)
    middle = stream.uniform(0.35, 0.65, size=2)
    radius = np.hypot(rows - middle[0], columns - middle[1])
    down, across = (np.sin(2 * np.pi * wave * x + shift) for x, shift in zip((columns, rows), phase, strict=True))
    pattern = {
        "checks": down * across, "discs": stream.uniform(0.2, 0.3) - radius,
        "rings": np.sin(2 * np.pi * 1.6 * wave * radius + phase[0]), "stripes-across": across, "stripes-down": down,
    }[kind]
    share = 1 / (1 + np.exp(-12 * pattern))[..., None]
    ink, paper = stream.uniform(0, 110, size=3), stream.uniform(130, 255, size=3)
    noise = stream.normal(0, 14, size=(side, side, 3))
    return np.clip(ink * share + paper * (1 - share) + noise, 0, 255).astype(np.uint8)


def write_images(folder: Path, count: int = 600, side: int = 64, seed: int = 0) -> Path:
    """`count` PNG files below `folder`, one folder per class; the same arguments give the same pixels."""
    for number in range(count):
        kind = CLASSES[number % len(CLASSES)]
        place = folder / kind
        place.mkdir(parents=True, exist_ok=True)
        pixels = picture(kind, np.random.default_rng([seed, number]), side)
        Image.fromarray(pixels).save(place / f"{number:04d}.png")
    return folder


if __name__ == "__main__":
    import sys

    write_images(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 600)
