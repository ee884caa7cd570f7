"""The first line of a manifest: which job, from where to where, what was expected and what is demanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from manifests import canonical
from manifests.census import Census
from manifests.errors import FormatError, VersionError
from manifests.receipt import LEVELS

FORMAT = "portability-manifest/1"

_KNOWN_FORMAT = re.compile(r"portability-manifest/1(\.\d+)?", re.ASCII)
_OPTIONAL = ("selection", "names", "previous")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line."""

    job: str
    """`urn:uuid:…`"""
    source: str
    destination: str
    """Like `source` a URI without credentials; an archive is its own `urn:uuid:`."""
    created: str
    """RFC 3339."""
    tool: Mapping[str, Any]
    """`name`, `version`, and more."""
    census: Census
    demands: str = "read"
    accepts: tuple[str, ...] = ()
    selection: Mapping[str, Any] | None = None
    names: str | None = None
    previous: str | None = None
    format: str = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def archive(self) -> bool:
        """Whether the destination is an archive, whose paths obey the rules for names."""
        return self.destination.startswith("urn:uuid:")

    def to_line(self) -> bytes:
        """The canonical line without its LF; FormatError if a reader would refuse it."""
        line: dict[str, Any] = {
            **self.extra,
            "format": self.format,
            "job": self.job,
            "source": self.source,
            "destination": self.destination,
            "created": self.created,
            "tool": dict(self.tool),
            "demands": self.demands,
            "census": self.census.to_dict(),
            "accepts": list(self.accepts),
        }
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                line[name] = dict(value) if isinstance(value, Mapping) else value
        _check_header(line)
        return canonical.dumps(line)

    @classmethod
    def from_line(cls, data: bytes) -> Header:
        """The header in this line (without LF)."""
        line = canonical.load_object(data)
        _check_header(line)
        values = {name: line.pop(name) for name in (*_HEADER_TYPES, *_OPTIONAL) if name in line}
        values["census"] = Census.from_dict(values["census"])
        values["accepts"] = tuple(values["accepts"])
        return cls(**values, extra=line)


_HEADER_TYPES: dict[str, type] = {
    "format": str,
    "job": str,
    "source": str,
    "destination": str,
    "created": str,
    "tool": dict,
    "demands": str,
    "census": dict,
    "accepts": list,
}


def _check_header(line: Mapping[str, Any]) -> None:
    stated = line.get("format")
    if isinstance(stated, str) and stated.startswith("portability-manifest/") and not _KNOWN_FORMAT.fullmatch(stated):
        raise VersionError("a version of the format that this program does not know; use a newer one", rule="3.6")
    if not isinstance(stated, str) or not _KNOWN_FORMAT.fullmatch(stated):
        raise FormatError("not the header of a manifest", rule="3.3")
    for name, expected in _HEADER_TYPES.items():
        if type(line.get(name)) is not expected:
            raise FormatError(f"the header needs {name}", rule="3.3")
    Census.from_dict(line["census"])
    if line["demands"] not in LEVELS[1:]:
        raise FormatError("an unknown evidence level in demands", rule="3.3, demands")
    if not all(type(reason) is str for reason in line["accepts"]):
        raise FormatError("accepts is a list of reasons", rule="3.3, accepts")
    if not isinstance(line.get("selection", {}), dict):
        raise FormatError("selection is not an object", rule="3.3, selection")
    if line.get("names", "utf8") not in ("utf8", "ascii") or type(line.get("previous", "")) is not str:
        raise FormatError("names or previous is not what it can be", rule="3.3")
    if any(_has_password(line[name]) for name in ("source", "destination")):
        raise FormatError("a URI with a password", rule="3.3, URIs without credentials")


def _has_password(uri: str) -> bool:
    try:
        return urlsplit(uri).password is not None
    except ValueError as error:
        raise FormatError("source or destination is not a URI", rule="3.3") from error
