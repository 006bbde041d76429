"""Decoding of image files of unknown origin to pixels of one size.

A file is decoded only if its declared size is below the limit. Every defect of a file is raised as a DataError that
states the defect and the remedy.
"""

from __future__ import annotations

import contextlib
import errno
import io
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nas_pipeline.errors import ConfigError, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 28

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_WORDS = "PNG, JPEG, BMP, TIFF or WebP"
_SIXTEEN_BITS = 65535
_ON_ITS_SIDE = (5, 6, 7, 8)
_DRAFT = 2
"""A JPEG is decoded at reduced size if that is still at least this many times the wanted size."""

Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Shape of all images after decoding. `side`: height and width in pixels. `channels`: 1 (grey) or 3 (RGB).

    `fit` is the treatment of images that are not square: `crop` cuts out the centre, `pad` adds bars of the
    background, `stretch` distorts the image. `background` is a colour name or #rrggbb; it also replaces transparent
    pixels.
    """

    side: int
    channels: int
    fit: Fit = "crop"
    background: str = "white"

    def __post_init__(self) -> None:
        if type(self.side) is not int or not 8 <= self.side <= 1024:
            raise ConfigError(f"source option side: a whole number of pixels, 8 to 1024, got {self.side!r}")
        if self.channels not in (1, 3):
            raise ConfigError(f"source option channels: 1 (grey) or 3 (RGB), got {self.channels!r}")
        if self.fit not in get_args(Fit):
            raise ConfigError(f"source option fit: one of {', '.join(get_args(Fit))}, got {self.fit!r}")
        try:
            Image.new("RGB", (1, 1), self.background)
        except (ValueError, TypeError, AttributeError):
            raise ConfigError(f"source option background: a colour like white or #808080, got {self.background!r}"
                              ) from None


def read_file(path: Path) -> bytes:
    """Read a regular file of at most `MAX_FILE_BYTES`.

    Raises:
        DataError: The file is missing, not readable, not a regular file, or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is not a regular file; move it away")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"has {status.st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}; save it smaller")
        return path.read_bytes()
    except OSError as error:
        raise DataError(why_unreadable(error)) from error


def why_unreadable(error: OSError) -> str:
    """Return reason and remedy for a file or folder that cannot be opened, to follow its name in a message."""
    reasons = {
        errno.ENOENT: "does not exist; correct the path, or restore the file",
        errno.EACCES: "is not readable; grant the permission (chmod u+r, and u+x on its folders)",
        errno.ELOOP: "is a symbolic link to itself; remove the link",
        errno.ENOTDIR: "is not a folder; correct the path",
    }
    return reasons.get(error.errno or 0, f"cannot be read ({error.strerror or error}); check the disk")


def decode(content: bytes, shape: Shape) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode an image file. Returns pixels uint8 [side, side, channels] and (width, height) of the file.

    Palettes are converted to colours, 16 bits to 8 (over the full range), transparent pixels to the background, and the
    EXIF orientation is applied. The first page of a file with several pages is used.

    Raises:
        DataError: The bytes are not a complete image of a known format, or it is too large. The message does not
            contain the name of the file.
    """
    if not content:
        raise DataError("is empty (0 bytes); copy it again or remove it")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"is not {_WORDS}, regardless of its name; convert or remove it") from None
    except Image.DecompressionBombError:
        raise DataError(f"declares a huge size, {_too_large()}") from None
    except Exception as error:  # Pillow's parsers raise many types on damaged headers
        raise DataError(f"is damaged ({error}); copy it again or remove it") from error
    width, height = image.size
    if width * height >= MAX_PIXELS:
        raise DataError(f"is {width} x {height} pixels, {_too_large()}")
    image.draft(None, (_DRAFT * shape.side, _DRAFT * shape.side))  # JPEG only; other formats ignore it
    try:
        image.load()
        on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE  # TIFF files are never rotated
        turned = ImageOps.exif_transpose(image)
    except Exception as error:  # as above
        raise DataError(f"is damaged or cut short ({error}); copy it again or remove it") from error
    return fit(turned, shape), (height, width) if on_its_side else (width, height)


def fit(image: Image.Image, shape: Shape) -> np.ndarray:
    """Return the pixels uint8 [side, side, channels] of an image of any mode.

    Raises:
        DataError: The values are not pixel values.
    """
    plain = _plain(image, shape)
    if shape.fit == "stretch":
        fitted = plain.resize((shape.side, shape.side), Image.Resampling.BICUBIC)
    elif shape.fit == "crop":
        fitted = ImageOps.fit(plain, (shape.side, shape.side), Image.Resampling.BICUBIC)
    else:
        whole = ImageOps.contain(plain, (shape.side, shape.side), Image.Resampling.BICUBIC)
        fitted = Image.new("RGB", (shape.side, shape.side), shape.background).convert(plain.mode)
        fitted.paste(whole, ((shape.side - whole.width) // 2, (shape.side - whole.height) // 2))
    return np.asarray(fitted, dtype=np.uint8).reshape(shape.side, shape.side, shape.channels)


@contextlib.contextmanager
def own_limit() -> Iterator[None]:
    """Silence Pillow's warning about large images, as `decode` has its own limit.

    Warning filters are global to the process, so enter this context around threads, not in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # damaged metadata with valid pixels
        yield


def _plain(image: Image.Image, shape: Shape) -> Image.Image:
    """Return the image in mode L or RGB."""
    mode = "L" if shape.channels == 1 else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, shape.background), whole).convert("RGB")
    return image if image.mode == mode else image.convert("RGB").convert(mode)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Convert one channel of 16 bits, 32 bits or floating point to uint8; 65535 (or 1.0) is white."""
    if not np.isfinite(values).all():
        raise DataError("has pixels that are NaN or infinite; repair or remove it")
    low, high = float(values.min()), float(values.max())
    white = 1.0 if values.dtype.kind == "f" and high <= 1.0 else 255.0 if values.dtype.kind == "f" else _SIXTEEN_BITS
    if low < 0 or high > white:
        raise DataError(f"has pixel values from {low:g} to {high:g}; save it with 8 or 16 bits per channel")
    return np.rint(values.astype(np.float64) * (255.0 / white)).astype(np.uint8)


def _too_large() -> str:
    return f"and the limit is under {MAX_PIXELS // 1_000_000} megapixels; save it smaller or remove it"
