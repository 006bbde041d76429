"""Random streams come from names: the same name gives the same stream on every machine and in every order."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def seed_of(name: str) -> int:
    """A 63-bit seed from a name such as "3/augment"."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(name: str) -> torch.Generator:
    """A CPU generator of its own for the stream `name`."""
    return torch.Generator().manual_seed(seed_of(name))


@contextlib.contextmanager
def isolated(name: str) -> Iterator[None]:
    """Seed torch's global stream (weight init, dropout) from `name` inside the block; restore it after."""
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(name))
        yield
