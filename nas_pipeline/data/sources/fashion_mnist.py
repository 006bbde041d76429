"""Fashion-MNIST: 60,000 + 10,000 grey images of 28 x 28, ten classes, MIT licence.

The source tries several ways that need no account. The decoded pixels must have the checksums below in every case.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from nas_pipeline.core.files import atomic_directory
from nas_pipeline.data.fetch import Way, addresses, debian_package, first_that_works
from nas_pipeline.data.idx import read_idx
from nas_pipeline.data.source import RawData
from nas_pipeline.errors import DataError

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)

Arrays = dict[str, np.ndarray]
"""File stem -> decoded values."""

_DIMS = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}
"""File stem -> number of dimensions."""

SHA256 = {
    "train-images-idx3-ubyte": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train-labels-idx1-ubyte": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "t10k-images-idx3-ubyte": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "t10k-labels-idx1-ubyte": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
"""Checksums of the decoded values, not of the files, which distributions compress differently."""

_PACKAGE = "dataset-fashion-mnist"
_PACKAGE_FOLDER = "/usr/share/datasets/fashion-mnist"
_ADDRESSES = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
_GZ_NAMES = tuple(f"{stem}.gz" for stem in _DIMS)
_ADVICE = (
    f"What to do: install the Debian package {_PACKAGE}, or put the four files {', '.join(_GZ_NAMES)} into a folder "
    "and name it as the source's option `path`."
)


class FashionMnist:
    """The published data set.

    `path`: a folder with the four IDX files, plain or gzipped; no other way is tried if it is set. `cache`: folder for
    downloads. `offline`: skip ways that need a network.
    """

    name = "fashion_mnist"
    version = 1
    slow = True

    def __init__(self, path: str | None = None, cache: str = ".nas/downloads", offline: bool = False) -> None:
        self._path = path
        self._cache = Path(cache) / "fashion-mnist"
        self._offline = offline

    def key(self) -> dict[str, object]:
        """Name, version and options."""
        return {"name": self.name, "version": self.version, "options": {
            "path": self._path,
            "cache": str(self._cache.parent),
            "offline": self._offline,
        }}

    def ways(self) -> tuple[Way[Arrays], ...]:
        """Return the ways to get the files, in the order in which they are tried."""
        if self._path is not None:
            return (Way("the given path", partial(read_folder, Path(self._path))),)
        return (
            Way(f"the installed package ({_PACKAGE_FOLDER})", partial(read_folder, Path(_PACKAGE_FOLDER))),
            Way(f"an earlier download ({self._cache})", partial(read_folder, self._cache)),
            Way(
                f"apt-get download {_PACKAGE}",
                partial(download_checked, self._cache, partial(debian_package, _PACKAGE, _PACKAGE_FOLDER, _GZ_NAMES)),
                network=True,
            ),
            *(
                Way(
                    f"download from {base}",
                    partial(download_checked, self._cache, partial(addresses, base, _GZ_NAMES)),
                    network=True,
                )
                for base in _ADDRESSES
            ),
        )

    def load(self) -> RawData:
        """Load the 60,000 training and 10,000 test images.

        Raises:
            DataError: No way succeeds, or the pixels are not those of Fashion-MNIST.
        """
        location, arrays = first_that_works("Fashion-MNIST", self.ways(), offline=self._offline, advice=_ADVICE)
        return RawData(
            name="fashion_mnist",
            class_names=CLASS_NAMES,
            train_images=arrays["train-images-idx3-ubyte"][..., np.newaxis],
            train_labels=arrays["train-labels-idx1-ubyte"].astype(np.int64),
            test_images=arrays["t10k-images-idx3-ubyte"][..., np.newaxis],
            test_labels=arrays["t10k-labels-idx1-ubyte"].astype(np.int64),
            provenance={"found": location, "licence": "MIT, Zalando SE 2017", "sha256_decoded": dict(SHA256)},
        )


def read_folder(folder: Path) -> Arrays:
    """Decode the four IDX files of a folder and check them.

    Raises:
        DataError: A file is missing or damaged, or its values are not those of Fashion-MNIST.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    arrays: Arrays = {}
    for stem, dims in _DIMS.items():
        arrays[stem] = read_idx(_file(folder, stem), dims)
        digest = hashlib.sha256(arrays[stem].tobytes()).hexdigest()
        if digest != SHA256[stem]:
            raise DataError(
                f"{folder}/{stem} does not belong to Fashion-MNIST: "
                f"the sha256 of its values is {digest}, expected {SHA256[stem]}"
            )
    return arrays


def _file(folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    raise DataError(f"{folder} has neither {stem}.gz nor {stem}")


def download_checked(target: Path, fetch: Callable[[Path], None]) -> Arrays:
    """Fetch files into a temporary folder, and move it to `target` if the content is correct.

    Raises:
        DataError: The fetch fails, the content is wrong, or `target` cannot be written.
    """
    try:
        with atomic_directory(target) as folder:
            fetch(folder)
            return read_folder(folder)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}") from error
