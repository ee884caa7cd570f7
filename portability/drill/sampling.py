"""What a sample proves: the exact hypergeometric bound, and rotations in which several drills draw everything."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from portability.draw import WHOLE, Draw
from portability.drill.record import Record

CONFIDENCE = 95
"""Per cent, one-sided."""
_EXACT = 2000
"""Up to so many things whole numbers are fast enough; beyond it logarithms, rounded towards caution."""
_CAUTION = 1e-6
"""More than the rounding of lgamma at a hundred million things: a bound may be one too high, never one too low."""


def fewer_than(of: int, drawn: int, damaged: int) -> int:
    """With 95 % confidence fewer than this many of `of` things are damaged, when `damaged` of the `drawn` were.

    One more than the largest number of damaged things with which a draw without replacement shows as few as were seen
    in more than one case out of twenty (Clopper-Pearson, for the hypergeometric distribution).
    """
    if not 0 <= damaged <= drawn <= of:
        raise ValueError("a sample is a part of the whole, and the damaged are a part of the sample")
    low, high = damaged, of - (drawn - damaged)  # what was seen is possible with every number between these
    while low < high:
        middle = (low + high + 1) // 2
        if _is_likely(of, drawn, damaged, middle):
            low = middle
        else:
            high = middle - 1
    return low + 1


def _is_likely(of: int, drawn: int, damaged: int, total: int) -> bool:
    """Whether so few are seen in more than one case out of twenty if `total` are damaged."""
    least = max(0, drawn - (of - total))
    if of <= _EXACT:
        seen = sum(math.comb(total, k) * math.comb(of - total, drawn - k) for k in range(least, damaged + 1))
        return Fraction(seen, math.comb(of, drawn)) > Fraction(100 - CONFIDENCE, 100)
    logs = [_log_comb(total, k) + _log_comb(of - total, drawn - k) for k in range(least, damaged + 1)]
    if not logs:
        return False
    top = max(logs)
    chance = math.exp(top - _log_comb(of, drawn)) * math.fsum(math.exp(one - top) for one in logs)
    return chance > (100 - CONFIDENCE) / 100 * (1 - _CAUTION)


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One drill's place in a rotation."""

    seed: str
    share: int
    """Parts in a million."""
    number: int
    """Drills of this rotation, this one included."""

    @property
    def of_drills(self) -> int:
        return -(-WHOLE // self.share)

    def draw(self, also: Collection[str] = ()) -> Draw:
        return Draw(seed=self.seed, start=(self.number - 1) * self.share % WHOLE, length=self.share, also=tuple(also))

    def covered(self) -> Draw:
        """What all drills of the rotation so far were to draw."""
        return Draw(seed=self.seed, start=0, length=min(WHOLE, self.number * self.share))


def next_turn(records: Sequence[Record], share: int, *, seed: str | None = None) -> Turn:
    """The turn after the records' (oldest first); a new rotation, with a seed of its own, where the last is complete.

    A rotation goes on only with the same share, the same seed, and drills that proved what they drew.
    """
    last = next((one for one in reversed(records) if one.scope.sample is not None), None)
    sample = last.scope.sample if last else None
    if sample is not None and last is not None and sample.share_ppm == share and seed in {None, sample.seed}:
        number = sample.cover.drills + (1 if last.verdict.proven else 0)  # what was not proven is drawn once more
        if number <= sample.cover.of_drills:
            return Turn(seed=sample.seed, share=share, number=number)
        if seed is None:
            return Turn(seed=secrets.token_hex(16), share=share, number=1)
    return Turn(seed=seed or secrets.token_hex(16), share=share, number=1)
