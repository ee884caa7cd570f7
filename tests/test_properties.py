"""The central property, over any keys and attributes: A to B to A gives an equal manifest, except for declared losses."""

from __future__ import annotations

import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from connectors import Entry, Location, connect, memory
from connectors.streams import BytesStream
from manifests.manifest import ManifestReader
from portability.job import Job, Policy
from portability.migrate import migrate

# Any text that a host may use as a key, odd bytes included (lone surrogates are how they travel).
segments = st.one_of(
    st.sampled_from(
        ["", ".", "..", "a", "A", "\u00e9", "e\u0301", "CON", "x ", "tab\there", "caf\udce9", "\u202egpj", "%41"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), max_size=6),
)
keys = st.lists(segments, min_size=1, max_size=4).map("/".join).filter(bool)
texts = st.dictionaries(
    st.text("abcdef-", min_size=1, max_size=5), st.text(st.characters(codec="utf-8"), max_size=8), max_size=2
)


@dataclass(frozen=True)
class Version:
    data: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    deleted: bool = False


versions = st.lists(
    st.builds(Version, data=st.binary(max_size=40), metadata=texts, tags=texts, deleted=st.booleans()),
    min_size=1,
    max_size=3,
)
practices = st.dictionaries(keys, versions, min_size=1, max_size=6)


def place(versioned: bool) -> Location:
    return Location.parse(f"memory://{uuid.uuid4().hex}" + ("?versions=true" if versioned else ""))


def fill(location: Location, practice: dict[str, list[Version]]) -> None:
    host = connect(location)
    for key, history in practice.items():
        for version in history:
            if version.deleted:
                host.put_marker(Entry(key=key, kind="delete_marker"))
            else:
                entry = Entry(key=key, size=len(version.data), metadata=version.metadata, tags=version.tags)
                host.put_version(entry, BytesStream(version.data))


def essence(evidence: Path) -> list[tuple[object, ...]]:
    with (evidence / "manifest.jsonl").open("rb") as stream:
        return [
            (line.key, line.kind, line.order, line.latest, line.size, line.sha256, line.metadata, line.tags)
            for line in ManifestReader(stream)
        ]


@settings(max_examples=60, phases=(Phase.explicit, Phase.generate))
@given(practice=practices, between_keeps_versions=st.booleans())
def test_there_and_back_gives_an_equal_manifest(
    practice: dict[str, list[Version]], between_keeps_versions: bool
) -> None:
    first, between, last = place(True), place(between_keeps_versions), place(True)
    fill(first, practice)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
        away = Job(source=first, destination=between, evidence=Path(folder, "away"), policy=Policy(retries=0))
        back = Job(
            source=between,
            destination=last,
            evidence=Path(folder, "back"),
            policy=Policy(retries=0),
            using=str(Path(folder, "away")),
        )
        for job in (away, back):
            outcome = migrate(job, executor=executor)
            assert (outcome.findings, outcome.reasons) == ((), ())
        assert essence(back.evidence) == essence(away.evidence)
    for location in (first, between, last):
        memory.drop(location.host)
