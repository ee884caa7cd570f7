"""What a destination adds when it is a layout of files, such as an archive, whose manifest lines hold every attribute."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where the bytes of a thing go: `path`, or below the folder `by_content` under their own SHA-256, stored once."""

    path: str = ""
    by_content: str = ""
    stored_in: Mapping[str, str] | None = None
    """Where another archive holds these bytes (`archive`, `path`, `sha256`): if the source's are still those, only a line is
    written."""


class Naming(Protocol):
    def slot(self, key: str, *, order: int | None, latest: bool) -> Slot:
        """The place of an object's bytes; keys come in line order."""
        ...


@runtime_checkable
class Layout(Protocol):
    """A destination that places things by its own rules and loses none of their attributes: the lines hold them.

    What it returns from `put` may carry `host["stored"]`, the size and SHA-256 of what it really wrote (a ciphertext).
    """

    def naming(self) -> AbstractContextManager[Naming]: ...
