"""From the bytes of an image file to pixels of one size: the only place that opens files of unknown origin.

Nothing is decoded before its declared size is known to be small enough, and whatever is wrong with a file becomes a
DataError that says so and what to do.
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
"""A JPEG is decoded at a fraction of its size where that is still so many times the size that is wanted."""

Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What every image is brought to. `side`: height and width in pixels. `channels`: 1 (grey) or 3 (RGB).

    `fit` says what becomes of an image that is not square: `crop` keeps its middle, `pad` keeps it whole between bars
    of the background, `stretch` distorts it. `background` is a colour's name or #rrggbb, behind transparent pixels too.
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
    """The content of a regular file of a sensible size.

    Raises:
        DataError: There is none, it may not be read, it is no regular file, or it is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is no regular file; move it away")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"has {status.st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}; save it smaller")
        return path.read_bytes()
    except OSError as error:
        raise DataError(why_unreadable(error)) from error


def why_unreadable(error: OSError) -> str:
    """Reason and remedy for a file or folder that cannot be opened, to stand behind its name."""
    reasons = {
        errno.ENOENT: "is not there; correct the path, or bring the file back",
        errno.EACCES: "may not be read; give this user the permission (chmod u+r, and u+x on its folders)",
        errno.ELOOP: "is a symbolic link that leads back to itself; remove the link",
        errno.ENOTDIR: "is no folder; correct the path",
    }
    return reasons.get(error.errno or 0, f"cannot be read ({error.strerror or error}); check the disk")


def decode(content: bytes, shape: Shape) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels uint8 [side, side, channels], upright, and (width, height) of the file.

    Palettes become colours, 16 bits become 8 (the full range is kept), transparent pixels get the background, and the
    camera's note about rotation (EXIF) is carried out. Of a file with several pages the first is taken.

    Raises:
        DataError: The bytes are not a whole image of a known format, or it is too large; the text has no name in it.
    """
    if not content:
        raise DataError("is empty (0 bytes); copy it again or remove it")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"is not {_WORDS}, whatever its name says; convert or remove it") from None
    except Image.DecompressionBombError:
        raise DataError(f"declares a huge size, {_too_large()}") from None
    except Exception as error:  # Pillow's parsers raise whatever a damaged header leads them to
        raise DataError(f"is damaged ({error}); copy it again or remove it") from error
    width, height = image.size
    if width * height >= MAX_PIXELS:
        raise DataError(f"is {width} x {height} pixels, {_too_large()}")
    image.draft(None, (_DRAFT * shape.side, _DRAFT * shape.side))  # of a JPEG; others ignore it
    try:
        image.load()
        on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE  # never of a TIFF
        turned = ImageOps.exif_transpose(image)
    except Exception as error:  # as above
        raise DataError(f"is damaged or cut short ({error}); copy it again or remove it") from error
    return fit(turned, shape), (height, width) if on_its_side else (width, height)


def fit(image: Image.Image, shape: Shape) -> np.ndarray:
    """Pixels uint8 [side, side, channels] of an image of any mode.

    Raises:
        DataError: Its numbers are not those of an image.
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
    """Silence Pillow's own warning about large images: `decode` holds them to a limit itself.

    The warning filters are the process's: enter this once, around threads, not in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # odd metadata beside sound pixels
        yield


def _plain(image: Image.Image, shape: Shape) -> Image.Image:
    """As mode L or RGB."""
    mode = "L" if shape.channels == 1 else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, shape.background), whole).convert("RGB")
    return image if image.mode == mode else image.convert("RGB").convert(mode)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """uint8 of one channel in 16 bits, 32 bits or floating point; 65535 (or 1.0) is white."""
    if not np.isfinite(values).all():
        raise DataError("has pixels that are no numbers (NaN or infinite); mend or remove it")
    low, high = float(values.min()), float(values.max())
    white = 1.0 if values.dtype.kind == "f" and high <= 1.0 else 255.0 if values.dtype.kind == "f" else _SIXTEEN_BITS
    if low < 0 or high > white:
        raise DataError(f"has pixel values from {low:g} to {high:g}; save it with 8 or 16 bits per channel")
    return np.rint(values.astype(np.float64) * (255.0 / white)).astype(np.uint8)


def _too_large() -> str:
    return f"and the limit is under {MAX_PIXELS // 1_000_000} megapixels; save it smaller or remove it"
