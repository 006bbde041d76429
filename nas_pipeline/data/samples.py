"""Assembly of a data set from a list of samples (bytes, label, split, group), for all sources of image files.

A source lists its samples. This module checks names, labels, groups and splits, and decodes the images.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from nas_pipeline.data.decode import Shape, decode, own_limit
from nas_pipeline.data.source import Details, RawData
from nas_pipeline.errors import DataError

SPLIT_NAMES = {"": "", "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
               "calib": "calib", "test": "test"}
"""Accepted name of a split -> split; empty: the pipeline assigns the split."""

_NO_LABEL = {"", "nan", "null", "none"}
_NAMED = 10
"""Largest number of offenders in a message."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image that is not decoded yet."""

    name: str
    """Id in messages and in the manifest; unique and equal on every machine."""
    read: Callable[[], bytes]
    label: str
    split: str = ""
    group: str = ""
    """Images of one group (a patient, a video) stay in one split; empty: the image is its own group."""


def assemble(
    name: str, samples: Sequence[Sample], shape: Shape, *, classes: Sequence[str] | None, location: str, remedy: str
) -> RawData:
    """Check the samples, decode every image, and return the data set. Classes are sorted by name.

    Args:
        name: Name of the data set.
        samples: All images.
        shape: Shape of the decoded images.
        classes: The allowed labels in their order; None: the labels of the samples.
        location: Location of the samples on this machine, for messages.
        remedy: Place where labels are corrected, for messages.

    Raises:
        DataError: There is no sample, a duplicate name, a missing or unknown label, fewer than two classes, a class
            without images in a split of the source, a group in two splits, or an image that cannot be decoded. The
            message names at most ten offenders.
    """
    if not samples:
        raise DataError(f"{location} has no image; set data.source.options.path to a location with images")
    times = Counter(sample.name for sample in samples)
    _refuse(f"{location}: names occur twice", [name for name, count in times.items() if count > 1],
            f"keep one of each in {remedy}")
    _refuse(f"{location}: images without a label", [s.name for s in samples if s.label.strip().lower() in _NO_LABEL],
            f"give each its label in {remedy}, or remove it")
    present = {sample.label for sample in samples}
    known = tuple(classes) if classes is not None else tuple(sorted(present, key=_natural))
    _refuse(f"{location}: unknown labels", [f"{s.name} is {s.label!r}{_near(s.label, known)}" for s in samples
                                         if s.label not in known],
            f"correct them in {remedy}, or add the class to data.source.options.classes")
    samples = [_with_split(sample, location, remedy) for sample in samples]
    _check_classes(samples, known, location, remedy)
    _check_groups(samples, location, remedy)
    pixels, sizes = _decode_all(samples, shape, location)
    labels = np.array([known.index(sample.label) for sample in samples], dtype=np.int64)
    in_test = np.array([sample.split == "test" for sample in samples])

    def details(mask: np.ndarray) -> Details:
        mine = [sample for sample, member in zip(samples, mask, strict=True) if member]
        return Details(files=tuple(s.name for s in mine), sizes=sizes[mask], groups=tuple(s.group for s in mine),
                       splits=tuple(s.split for s in mine))

    return RawData(
        name=name, class_names=known, train_images=pixels[~in_test], train_labels=labels[~in_test],
        test_images=pixels[in_test], test_labels=labels[in_test], train_details=details(~in_test),
        test_details=details(in_test), provenance={"found": location, "files": len(samples), "shape": asdict(shape)},
    )


def dataset_name(title: str | None, fallback: str) -> str:
    """Return the name of a data set for experiments and models: lower case letters, digits, underscores."""
    return re.sub(r"[^a-z0-9]+", "_", (title or fallback).lower()).strip("_") or "images"


def _decode_all(samples: Sequence[Sample], shape: Shape, location: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode all samples to uint8 [N, side, side, C]; also returns width and height of each file, int64 [N, 2]."""
    pixels = np.empty((len(samples), shape.side, shape.side, shape.channels), dtype=np.uint8)
    sizes = np.empty((len(samples), 2), dtype=np.int64)

    def decode_sample(index: int) -> str | None:
        try:
            pixels[index], sizes[index] = decode(samples[index].read(), shape)
        except DataError as error:
            return f"{samples[index].name} {error}"
        return None

    with own_limit(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        broken = [line for line in pool.map(decode_sample, range(len(samples))) if line is not None]
    _refuse(f"{location}: images that cannot be used", broken, "")
    return pixels, sizes


def _with_split(sample: Sample, location: str, remedy: str) -> Sample:
    split = SPLIT_NAMES.get(sample.split.strip().lower())
    if split is None:
        raise DataError(f"{location}: {sample.name} is in the split {sample.split!r}; write train, val, calib, test or "
                        f"nothing in {remedy}")
    return Sample(sample.name, sample.read, sample.label, split, sample.group.strip())


def _check_classes(samples: Sequence[Sample], known: Sequence[str], location: str, remedy: str) -> None:
    if len(known) < 2:
        raise DataError(f"{location} has only one class, {known[0]!r}; "
                        f"add images of another class in {remedy}")
    counts = Counter(sample.label for sample in samples)
    _refuse(f"{location}: classes without an image", [name for name in known if not counts[name]],
            f"add images of each in {remedy}, or remove the class")
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        parts[sample.split if sample.split in ("val", "calib", "test") else "train"].add(sample.label)
    for split, present in parts.items():
        _refuse(f"{location}: classes without an image in the split {split}", [n for n in known if n not in present],
                f"move images of each into it in {remedy}, or remove the splits so that the pipeline assigns them")


def _check_groups(samples: Sequence[Sample], location: str, remedy: str) -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group:
            splits[sample.group].add("test" if sample.split == "test" else sample.split or "train")
    _refuse(f"{location}: groups in more than one split",
            [f"{group} ({', '.join(sorted(where))})" for group, where in splits.items() if len(where) > 1],
            f"one group (a patient, a video) belongs in one split; correct {remedy}")


def _refuse(what: str, offenders: Sequence[str], remedy: str) -> None:
    if offenders:
        more = f"\n  and {len(offenders) - _NAMED} more" if len(offenders) > _NAMED else ""
        lines = "".join(f"\n  {line}" for line in offenders[:_NAMED])
        raise DataError(f"{what}:{lines}{more}" + (f"\nWhat to do: {remedy}" if remedy else ""))


def _near(label: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(label, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _natural(label: str) -> tuple[int, int, str]:
    """Sort key: whole numbers in numerical order, before words."""
    return (0, int(label), label) if label.isdecimal() else (1, 0, label)
