"""Named random streams: a name gives the same stream on every machine, whatever was drawn before.

A name is built from the seed of the run and the purpose: `generator(f"{seed}/epoch/{number}")`. Equal names give equal
streams, so two purposes must not share a name.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def seed_of(name: str) -> int:
    """Returns a 63-bit seed for a name such as "3/augment": the first bytes of its sha256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(name: str) -> torch.Generator:
    """Returns a new CPU generator at the start of the stream `name`.

    Example:
        >>> torch.equal(torch.rand(3, generator=generator("0/mirror")), torch.rand(3, generator=generator("0/mirror")))
        True
    """
    return torch.Generator().manual_seed(seed_of(name))


@contextlib.contextmanager
def isolated(name: str) -> Iterator[None]:
    """Seeds the global stream of torch (initialisation, dropout) from `name`, and restores it after the block.

    The streams of all GPUs are seeded and restored too.
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(name))
        yield
