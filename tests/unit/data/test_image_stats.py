"""Image statistics, perceptual hashes, and the findings of validation based on them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from nas_pipeline.data.findings import FINDINGS, findings
from nas_pipeline.data.image_stats import image_statistics
from nas_pipeline.data.perceptual import BITS, near_pairs, perceptual_hashes
from nas_pipeline.errors import ConfigError
from tests.generated_images import CLASSES, picture

SIDE = 64
NEAR = int(FINDINGS["near_duplicates"].bound)


@pytest.fixture(scope="module")
def good():
    return np.stack([picture(CLASSES[n % 5], np.random.default_rng(n), SIDE) for n in range(50)])


def changed(images, change):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def jpeg(image, quality=80):
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def shares(images):
    """Finding -> share of the images that violate it."""
    seen = image_statistics(images)
    rows = {name: row for name, row in FINDINGS.items() if row.column in seen}
    return {name: float(((seen[row.column] < row.bound) if row.is_least else (seen[row.column] > row.bound)).mean())
            for name, row in rows.items()}


def test_good_images_give_no_finding(good):
    assert shares(good) == {"dark": 0.0, "bright": 0.0, "low_information": 0.0, "blurred": 0.0}


@pytest.mark.parametrize(("name", "change"), [
    ("dark", lambda image: image.point(lambda value: value * 0.2)),
    ("bright", lambda image: image.point(lambda value: 247 + value * 0.03)),
    ("low_information", lambda image: image.point(lambda value: 255 * (value > 254))),
    ("blurred", lambda image: image.filter(ImageFilter.GaussianBlur(4))),
])
def test_each_finding_is_found(good, name, change):
    assert shares(changed(good, change))[name] > 0.9


def test_statistics_do_not_depend_on_the_other_images(good):
    whole, alone = image_statistics(good), image_statistics(good[7:8])
    assert all(alone[name][0] == pytest.approx(whole[name][7], rel=1e-6) for name in whole)
    assert all(len(values) == 0 for values in image_statistics(good[:0]).values())


def test_grey_images_have_statistics_and_hashes_too(good):
    assert image_statistics(good[..., :1])["entropy"].min() > 3
    assert len(perceptual_hashes(good[..., :1])[0]) == BITS // 4


def test_copies_that_were_saved_again_brightened_or_resized_are_near(good):
    kinds = np.array(["train"] * 50 + ["test"] * 50)
    for change in (jpeg, lambda image: image.point(lambda value: 20 + value * 0.85),
                   lambda image: image.resize((48, 48)).resize((SIDE, SIDE))):
        both = np.concatenate([good, changed(good, change)])
        pairs = near_pairs(perceptual_hashes(both), NEAR, kinds)
        assert {(row, row + 50) for row in range(50)} >= set(map(tuple, pairs.tolist()))
        assert len(pairs) >= 40


def test_images_that_only_look_alike_are_not_near(good):
    assert len(near_pairs(perceptual_hashes(good), NEAR, np.arange(50))) == 0


def test_pairs_are_nearly_those_of_a_comparison_of_all_with_all():
    stream = np.random.default_rng(0)
    base = stream.integers(0, 2, (30, BITS))
    bits = np.concatenate([base, base ^ (stream.random((30, BITS)) < 0.03), base[:5]])
    hashes = [np.packbits(row).tobytes().hex() for row in bits]
    kinds = stream.integers(0, 2, len(bits))
    for most in (0, 8, 24):
        near = {(a, b) for a in range(len(bits)) for b in range(a + 1, len(bits))
                if kinds[a] != kinds[b] and (bits[a] != bits[b]).sum() <= most}
        pairs = set(map(tuple, near_pairs(hashes, most, kinds).tolist()))
        low = bits.reshape(-1, 16, 16)[:, :8, :8].reshape(-1, 64)
        assert {(a, b) for a, b in near if (low[a] != low[b]).sum() <= 3} <= pairs <= near
        assert len(pairs) >= 0.8 * len(near)


def test_options_of_findings():
    assert set(findings()) == set(FINDINGS)
    chosen = findings({"dark": {"level": "refuse", "bound": 0.4}, "blurred": {"level": "off"}})
    assert (chosen["dark"].level, chosen["dark"].bound) == ("refuse", 0.4)
    assert "blurred" not in chosen
    with pytest.raises(ConfigError, match=r"unknown finding 'blured' \(did you mean 'blurred'\?\)"):
        findings({"blured": {}})
