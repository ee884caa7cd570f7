"""provenance.json: what was done, when, by which role and program; never a key, so that it can stay clear."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from manifests import canonical
from manifests.errors import FormatError

SCHEMA = "portability:provenance/1"
OUTCOMES = ("success", "warning", "fail")
COUNTS = ("listed", "copied", "skipped", "delete_markers", "failed", "bytes")

_VOCABULARY = "http://id.loc.gov/vocabulary/preservation/eventType/"
PREMIS = {
    "inventory": f"{_VOCABULARY}mee",  # metadata extraction
    "export": f"{_VOCABULARY}exp",  # exporting
    "transfer": f"{_VOCABULARY}tra",  # transfer
    "restore": f"{_VOCABULARY}rec",  # recovery
    "drill": f"{_VOCABULARY}rec",  # recovery, rehearsed
    "verification": f"{_VOCABULARY}fix",  # fixity check
    "encryption": f"{_VOCABULARY}enc",  # encryption
}
"""Our event types, and the PREMIS event types of the Library of Congress that they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who acted: a role, not a person, unless the practice asks for the name."""

    role: str
    software: Mapping[str, str]
    """`name`, `version`, and `sha256` where it is known."""
    organization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One end of an event."""

    uri: str
    type: str
    listed_at: str | None = None
    """RFC 3339."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that was done to the data set. `warnings` are sentences with counts; no key may stand in them."""

    type: str
    start: datetime
    end: datetime
    agent: Agent
    outcome: str
    source: Place | None = None
    destination: Place | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The event as it stands in the file."""
        if self.type not in PREMIS or self.outcome not in OUTCOMES or not self.counts.keys() <= set(COUNTS):
            raise FormatError("an unknown event type, outcome or count", rule="6")
        plain: dict[str, Any] = {
            "type": self.type,
            "premis": PREMIS[self.type],
            "start": canonical.time_text(self.start),
            "end": canonical.time_text(self.end),
            "agent": _known(self.agent),
        }
        if self.source is not None:
            plain["from"] = _known(self.source)
        if self.destination is not None:
            plain["to"] = _known(self.destination)
        return {**plain, "outcome": self.outcome, "counts": dict(self.counts), "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Event:
        """The event in this part of the file."""
        try:
            event = cls(
                type=plain["type"],
                start=canonical.time_of(plain["start"]),
                end=canonical.time_of(plain["end"]),
                agent=Agent(**plain["agent"]),
                outcome=plain["outcome"],
                source=Place(**plain["from"]) if "from" in plain else None,
                destination=Place(**plain["to"]) if "to" in plain else None,
                counts=plain["counts"],
                warnings=tuple(plain["warnings"]),
            )
            known = event.to_dict() == plain
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError("not an event", rule="6") from error
        if not known:
            raise FormatError("not an event as this version writes it", rule="6")
        return event


def _known(part: Agent | Place) -> dict[str, Any]:
    return {name: value for name, value in asdict(part).items() if value is not None}


def write_provenance(events: Iterable[Event]) -> bytes:
    """The file: indented, in time order."""
    ordered = sorted(events, key=lambda event: (event.start, event.end))
    plain = {"schema": SCHEMA, "events": [event.to_dict() for event in ordered]}
    return (json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def parse_provenance(data: bytes) -> tuple[Event, ...]:
    """The events in a file."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("not JSON", rule="6") from error
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA or not isinstance(plain.get("events"), list):
        raise FormatError("not a provenance file", rule="6")
    return tuple(Event.from_dict(event) for event in plain["events"])
