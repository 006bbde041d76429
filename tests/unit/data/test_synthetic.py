import numpy as np
import pytest

from nas_pipeline.data.sources.synthetic import Synthetic
from nas_pipeline.errors import ConfigError


def test_shapes_and_balance():
    data = Synthetic(train=90, test=30, classes=3, side=12, channels=3).load()
    data.check()
    assert data.train_images.shape == (90, 12, 12, 3)
    assert np.bincount(data.train_labels).tolist() == [30, 30, 30]
    assert np.bincount(data.test_labels).tolist() == [10, 10, 10]
    assert len(data.class_names) == 3


def test_seeds():
    images = [Synthetic(train=20, test=8, seed=seed).load().train_images for seed in (0, 0, 1)]
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_the_class_can_be_learned():
    """A fixed rule on the power along the direction of the class is far above chance, so a network can be too."""
    data = Synthetic(train=200, test=4).load()
    spectrum = np.abs(np.fft.fft2(data.train_images[..., 0] / 255 - 0.5))
    frequency = np.fft.fftfreq(16)
    angle = np.arctan2(frequency[:, None], frequency[None, :]) % np.pi
    low = (np.hypot(frequency[:, None], frequency[None, :]) < 0.25) & (angle >= 0)
    low[0, 0] = False
    directions = np.round(angle / (np.pi / 4)).astype(int) % 4
    power = np.stack([(spectrum * (low & (directions == k))).max(axis=(1, 2)) for k in range(4)], axis=1)
    assert (power.argmax(axis=1) == data.train_labels).mean() > 0.8


@pytest.mark.parametrize("options", [{"train": 3}, {"classes": 1}, {"side": 3}, {"channels": 0}, {"noise": -1.0}])
def test_options_that_make_no_data_set(options):
    with pytest.raises(ConfigError, match="source 'synthetic' needs"):
        Synthetic(**options)
