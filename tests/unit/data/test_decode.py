"""Files of every supported type, and files that must be rejected."""

import contextlib
import errno
import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from nas_pipeline.data.decode import MAX_FILE_BYTES, Shape, decode, own_limit, read_file, why_unreadable
from nas_pipeline.errors import ConfigError, DataError

RGB, GREY = Shape(16, 3), Shape(16, 1)
ORIENTATION = 274

NOBODY = 65534
"""Id of the unprivileged user on Linux and macOS."""


def encoded(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def halves(mode="RGB", left="red", right="blue", size=(32, 32)):
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


def png_that_declares(width, height):
    """A valid header and a few bytes of pixels: 60 bytes that would be decoded to gigabytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("format", "options"), [
    ("PNG", {}), ("JPEG", {"quality": 95}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
])
def test_formats(format, options):
    pixels, size = decode(encoded(halves(), format, **options), RGB)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert size == (32, 32)
    assert np.abs(pixels[8, 2].astype(int) - (255, 0, 0)).max() <= 8
    assert np.abs(pixels[8, 13].astype(int) - (0, 0, 255)).max() <= 8


@pytest.mark.parametrize("image", [
    halves("L", 200, 40), halves("1", 1, 0), halves("RGB").convert("P"), halves("RGB").convert("CMYK"),
    halves("RGBA"), halves("LA", (200, 255), (40, 255)),
], ids=lambda image: image.mode)
def test_modes(image):
    content = encoded(image, "TIFF" if image.mode == "CMYK" else "PNG")
    assert decode(content, RGB)[0].shape == (16, 16, 3)
    grey, _ = decode(content, GREY)
    assert grey.shape == (16, 16, 1)
    assert grey[8, 2, 0] > grey[8, 13, 0] + 20


def test_sixteen_bits_keep_their_whole_range():
    values = np.full((16, 16), 65535, dtype=np.uint16)
    values[:, 8:] = 257 * 100
    for format in ("PNG", "TIFF"):
        pixels, _ = decode(encoded(Image.fromarray(values), format), GREY)
        assert (pixels[0, 0, 0], pixels[0, 15, 0]) == (255, 100)


def test_floating_point():
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    pixels, _ = decode(encoded(Image.fromarray(values), "TIFF"), GREY)
    assert (pixels.min(), pixels.max()) == (0, 255)
    values[3, 3] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        decode(encoded(Image.fromarray(values), "TIFF"), GREY)
    with pytest.raises(DataError, match="save it with 8 or 16 bits"):
        decode(encoded(Image.fromarray(np.full((16, 16), 1e6, dtype=np.float32)), "TIFF"), GREY)


@pytest.mark.parametrize("image", [
    halves("RGBA", (255, 0, 0, 255), (0, 0, 255, 0)), halves("LA", (90, 255), (0, 0)),
], ids=["RGBA", "LA"])
def test_transparent_pixels_get_the_background(image):
    assert decode(encoded(image), RGB)[0][8, 13].tolist() == [255, 255, 255]
    assert decode(encoded(image), Shape(16, 3, background="black"))[0][8, 13].tolist() == [0, 0, 0]


def test_a_palette_with_a_transparent_entry():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    pixels, _ = decode(encoded(image, transparency=0), RGB)
    assert (pixels[8, 2].tolist(), pixels[8, 13].tolist()) == ([255, 255, 255], [200, 0, 0])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_rotation_of_the_camera_is_carried_out(format):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # turn a quarter to the right to see it upright
    content = encoded(halves(size=(64, 32)), format, exif=exif)
    pixels, size = decode(content, Shape(16, 3, fit="stretch"))
    assert size == (32, 64)
    assert pixels[1, 8, 0] > 200  # left became top
    assert pixels[14, 8, 2] > 200


@pytest.mark.parametrize(("fit", "corner", "middle"), [
    ("crop", [255, 0, 0], [255, 0, 0]), ("pad", [0, 128, 0], [255, 0, 0]), ("stretch", [255, 0, 0], [255, 0, 0]),
])
def test_fits(fit, corner, middle):
    pixels, size = decode(encoded(Image.new("RGB", (64, 16), "red")), Shape(16, 3, fit=fit, background="green"))
    assert size == (64, 16)
    assert pixels[0, 0].tolist() == corner
    assert pixels[8, 8].tolist() == middle


def test_a_large_jpeg_is_read_at_a_fraction_of_its_size_but_told_as_it_is():
    pixels, size = decode(encoded(halves(size=(900, 601)), "JPEG"), RGB)
    assert size == (900, 601)
    assert pixels[8, 2, 0] > 240


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is empty"),
    (b"this is a letter, not a picture", "is not PNG, JPEG"),
    (b"GIF89a" + b"\0" * 40, "is not PNG, JPEG"),
    (encoded(halves(size=(200, 200)), "JPEG")[:900], "cut short"),
    (encoded(Image.effect_noise((64, 64), 90))[:1500], "cut short"),
    (encoded(Image.effect_noise((64, 64), 90), "TIFF")[:900], "damaged|not PNG"),
    (encoded(Image.effect_noise((64, 64), 90), "BMP")[:900], "cut short"),
    (encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "WEBP")[:300], "damaged|cut short|not PNG"),
    (png_that_declares(10_000, 10_000), "is 10000 x 10000 pixels, and the limit is under 100 megapixels"),
    (png_that_declares(60_000, 60_000), "declares a huge size, and the limit is under 100 megapixels"),
    (png_that_declares(64, 64), "cut short"),
], ids=["empty", "text", "gif", "jpeg", "png", "tiff", "bmp", "webp", "100 megapixels", "bomb", "few pixels"])
def test_what_is_wrong_is_said_with_the_remedy(content, words):
    with own_limit(), pytest.raises(DataError, match=words) as caught:
        decode(content, RGB)
    assert "remove it" in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_random_damage_is_an_error_or_an_image_never_a_crash(format):
    content = encoded(halves(), format)
    stream = np.random.default_rng(1)
    with own_limit():
        for _ in range(60):
            damaged = bytearray(content)
            for position in stream.integers(0, len(content), size=4):
                damaged[position] = stream.integers(256)
            with contextlib.suppress(DataError):
                assert decode(bytes(damaged), RGB)[0].shape == (16, 16, 3)


def test_our_own_limit_silences_the_one_of_pillow():
    with warnings.catch_warnings(), own_limit(), pytest.raises(DataError, match="cut short"):
        decode(png_that_declares(9_990, 9_990), RGB)  # pillow warns from 89 megapixels on


def test_files_that_cannot_be_read(tmp_path):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe.png")
    large = tmp_path / "large.png"
    with large.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)  # a hole: no block of the disk is used
    for path, words in ((loop, "symbolic link to itself; remove the link"), (tmp_path / "none.png", "does not exist"),
                        (tmp_path / "pipe.png", "not a regular file"), (large, "the limit is")):
        with pytest.raises(DataError, match=words):
            read_file(path)


def test_a_file_without_permission():
    assert "chmod u\\+r" not in why_unreadable(OSError(errno.EIO, "Input/output error"))
    assert "is not readable; grant the permission" in why_unreadable(PermissionError(errno.EACCES, "denied"))


def test_a_real_file_without_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(NOBODY)
    try:
        with pytest.raises(DataError, match="is not readable"):
            read_file(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(("options", "words"), [
    ({"side": "64"}, "side: a whole number"), ({"side": 4}, "8 to 1024"), ({"channels": 4}, "1 .grey. or 3"),
    ({"fit": "squash"}, "one of crop, pad, stretch"), ({"background": "blurple"}, "a colour like white"),
])
def test_shapes_that_cannot_be(options, words):
    with pytest.raises(ConfigError, match=words):
        Shape(**{"side": 16, "channels": 3, **options})
