"""`portability connectors`: the kinds of places that can be read and written."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import click

from connectors import protocols, registry
from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.cli.words import table

ABILITIES: Mapping[str, type] = {
    "versions": protocols.Versioned,
    "version writing": protocols.VersionWriter,
    "details": protocols.Describer,
    "digests": protocols.Digester,
    "parts": protocols.Multipart,
    "erasing": protocols.Eraser,
    "free space": protocols.Space,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of place."""

    scheme: str
    origin: str
    """Where its connector comes from, "module:function"."""
    summary: str = ""
    abilities: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot be loaded."""


@make(
    "connectors",
    examples="""
        portability connectors
        portability connectors --json
    """,
)
def command(screen: Screen) -> int:
    """List the kinds of places, their options and abilities."""
    origins = registry.names()
    kinds = [_kind(scheme, origins[scheme]) for scheme in registry.schemes()]
    screen.result("\n\n".join(_text(kind) for kind in kinds), ({"type": "connector", **asdict(kind)} for kind in kinds))
    return 0


def _kind(scheme: str, origin: str) -> Kind:
    try:
        connect = registry.factory(scheme)
        made = typing.get_type_hints(connect).get("return", object)
    except Exception as error:  # noqa: BLE001 - one package that does not import must not hide the others
        return Kind(scheme=scheme, origin=origin, problem=f"cannot be loaded: {type(error).__name__}: {error}")
    module = sys.modules[connect.__module__]
    abilities = [name for name, method in (("reading", "list"), ("writing", "put")) if hasattr(made, method)]
    abilities += [name for name, protocol in ABILITIES.items() if _has(made, protocol)]
    return Kind(
        scheme=scheme,
        origin=origin,
        summary=(inspect.getdoc(module) or "").partition("\n")[0],
        abilities=tuple(abilities),
        options=dict(registry.options(scheme)),
    )


def _has(made: type, protocol: type) -> bool:
    return inspect.isclass(made) and issubclass(made, protocol)


def _text(kind: Kind) -> str:
    lines = [click.style(f"{kind.scheme}://", bold=True), f"  {kind.problem or kind.summary}"]
    facts = [("can", ", ".join(kind.abilities)), ("from", kind.origin)]
    lines += table([fact for fact in facts if fact[1]], right=frozenset())
    if kind.options:
        lines += ["  options", *(f"  {line}" for line in table(sorted(kind.options.items()), right=frozenset()))]
    return "\n".join(lines)
