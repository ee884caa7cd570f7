"""A random sample of keys: a published seed alone decides which of them belong to it, on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from connectors.keys import key_bytes

WHOLE = 1_000_000
"""Shares are parts in a million."""


def place_of(seed: str, key: str) -> int:
    """Where a key stands on the circle of a million places: even over keys, and the same for a key on every day."""
    digest = hashlib.sha256(seed.encode() + b"\0" + key_bytes(key)).digest()
    return int.from_bytes(digest[:8]) * WHOLE >> 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """The keys whose places lie in a window of the circle. Windows side by side draw everything, each thing in its turn."""

    seed: str
    start: int
    """First place of the window."""
    length: int
    """Places in it; the window goes on at 0 beyond the last place."""
    also: Collection[str] = ()
    """Keys that belong to it wherever they stand: no part of the random sample."""

    def holds(self, key: str) -> bool:
        return key in self.also or (place_of(self.seed, key) - self.start) % WHOLE < self.length

    def statement(self) -> dict[str, Any]:
        """For the manifest's `selection`: who has the listing draws the same sample again."""
        said = {"seed": self.seed, "start_ppm": self.start, "length_ppm": self.length, "also": sorted(self.also)}
        return {name: value for name, value in said.items() if value != []}
