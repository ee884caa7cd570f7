"""Frozen values that cross between processes by the hundred thousand, pickled as the tuple of what they hold."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

Kind = TypeVar("Kind")
_twins: dict[type, tuple[type, tuple[str, ...]]] = {}


def light(kind: type[Kind]) -> type[Kind]:
    """For a frozen dataclass with slots. Its generated pickling asks for the list of its fields each time, and sets each of them
    through `object.__setattr__`: two thirds of what it costs to send one. A twin has the same fields in the same places, none
    of them frozen, and becomes the real thing when it is filled."""
    names: tuple[str, ...] = kind.__slots__  # type: ignore[attr-defined]  # of each class that this is for
    values: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)
    _twins[kind] = type(kind.__name__, (), {"__slots__": names}), names
    kind.__reduce__ = lambda self: (_restored, (kind, values(self)))  # type: ignore[method-assign]  # as above
    return kind


def _restored(kind: type, values: tuple[Any, ...]) -> Any:
    twin, names = _twins[kind]
    made = twin()
    for name, value in zip(names, values, strict=True):
        setattr(made, name, value)
    made.__class__ = kind
    return made
