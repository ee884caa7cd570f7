"""Commands as a shell sees them: how to start one, and what it left."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "portability", *map(str, arguments)]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a command left: exit code and words."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def refused(self, code: int, *words: str) -> None:
        """A calm refusal: the exit code, one line of cause holding these words, one line of remedy, no traceback."""
        assert self.code == code, self
        assert "Traceback" not in self.err
        cause, *rest = self.err.splitlines()[-2:]
        assert cause.startswith("error: "), self.err
        for word in words:
            assert word in self.err, self.err
        assert rest, self.err
        assert rest[0].startswith("  → "), self.err


Run = Callable[..., Ended]
