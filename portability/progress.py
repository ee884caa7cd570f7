"""What a running job tells whoever watches: phases and steps, never keys."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        """A phase begins; `items` and `size` (bytes) to expect, None: not known."""
        ...

    def step(self, items: int = 0, size: int = 0) -> None:
        """So many more items and bytes are done in this phase."""
        ...

    def note(self, text: str) -> None:
        """One line worth saying while the phase goes on."""
        ...

    def done(self) -> None:
        """The phase ends."""
        ...


class Silent:
    """A progress that nobody watches."""

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None: ...

    def step(self, items: int = 0, size: int = 0) -> None: ...

    def note(self, text: str) -> None: ...

    def done(self) -> None: ...
