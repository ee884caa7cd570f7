"""ro-crate-metadata.json: an archive as a whole, as RO-Crate 1.3 describes data sets; never one entity for each file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from manifests.canonical import time_text
from manifests.provenance import Event

NAME = "data/ro-crate-metadata.json"
"""In the payload, whose folder is the root of the crate; it is the one payload file that no line of the manifest names."""
SPECIFICATION = "https://w3id.org/ro/crate/1.3"
_FOLDERS = {
    "data/files/": "current objects, under readable names",
    "data/objects/": "objects, each encrypted by itself",
    "data/versions/": "bytes of old versions, each under its SHA-256",
}
_STATUS = {"fail": "Failed"}


def write_crate(
    *,
    practice: str,
    identifier: str,
    created: str,
    lines: int,
    octets: int,
    folders: Iterable[str],
    described_by: Mapping[str, str],
    events: Iterable[Event],
    software: Mapping[str, str],
) -> bytes:
    """The file. `described_by`: the bag's own description, name -> SHA-256; `events`: those of provenance.json.

    It holds no key. A licence and a publisher are not known, and left out.
    """
    parts = [_entity(name.removeprefix("data/"), "Dataset", name=_FOLDERS[name]) for name in folders]
    works = [
        _entity(
            f"#{name}", "CreativeWork", name=f"{name} of the bag that holds this folder", identifier=f"sha256:{digest}"
        )
        for name, digest in described_by.items()
    ]
    actions = [_action(number, event) for number, event in enumerate(events)]
    root = _entity(
        "./",
        "Dataset",
        name=f"Archive of {practice}",
        description=f"All that a host held of {practice}: {lines} things, {octets} bytes; each is a line of the manifest.",
        datePublished=created,
        identifier=identifier,
        sourceOrganization=_ref("#practice"),
        hasPart=[_ref(part["@id"]) for part in parts],
        subjectOf=[_ref(work["@id"]) for work in works],
        mentions=[_ref(action["@id"]) for action in actions],
    )
    graph = [
        _entity("ro-crate-metadata.json", "CreativeWork", about=_ref("./"), conformsTo=_ref(SPECIFICATION)),
        root,
        _entity("#practice", "Organization", name=practice),
        _entity("#software", "SoftwareApplication", name=software["name"], softwareVersion=software["version"]),
        *parts,
        *works,
        *actions,
    ]
    document = {"@context": f"{SPECIFICATION}/context", "@graph": graph}
    return (json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def _action(number: int, event: Event) -> dict[str, Any]:
    made = event.type in {"export", "encryption"}
    told: dict[str, Any] = {"result": _ref("./")} if made else {"object": _ref("./")}
    return _entity(
        f"#{number}-{event.type}",
        "CreateAction" if made else "Action",
        name=event.type,
        agent=_ref("#practice"),
        instrument=_ref("#software"),
        startTime=time_text(event.start),
        endTime=time_text(event.end),
        actionStatus=_ref(f"http://schema.org/{_STATUS.get(event.outcome, 'Completed')}ActionStatus"),
        description=_sentence(event),
        **told,
    )


def _sentence(event: Event) -> str:
    places = [f"{word} {place.uri}" for word, place in (("from", event.source), ("to", event.destination)) if place]
    counts = ", ".join(f"{name} {count}" for name, count in event.counts.items())
    return "; ".join([*places, counts, *event.warnings])


def _entity(identifier: str, kind: str, /, **members: Any) -> dict[str, Any]:
    return {"@id": identifier, "@type": kind, **members}


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}
