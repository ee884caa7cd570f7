"""Reading by slices and shapes accepts what reading line by line accepts, finds the same, and refuses at the same line."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import canonical, slices, tree
from manifests.census import CensusTally, census_leaf_of
from manifests.errors import ManifestError
from manifests.header import Header
from manifests.manifest import ManifestReader, Summary, read_manifest
from manifests.receipt import check_line, key_bytes
from manifests.shapes import Row, shape_of
from manifests.tally import place_of

ARCHIVE = Header(
    job="urn:uuid:7d1b6c1e-0d8f-4d0e-9a55-3f1f2b6f9c11",
    source="s3://s3.example/cabinet",
    destination="urn:uuid:24e51ca2-5067-4598-935a-dac4e327d05a",
    created="2026-11-21T09:05:00Z",
    tool={"name": "portability", "version": "0.1.0"},
    census=CensusTally().census("2026-11-21T09:01:58Z"),
)
SALT = "R+34TNtCDerrNDPcnFjI9g=="
FORMS: list[dict[str, Any]] = [
    {"kind": "object", "size": 5, "sha256": "ab" * 32, "path": "data/files/x", "attempts": 1},
    {"kind": "object", "size": 0, "sha256": "cd" * 32, "path": "data/files/é ~1/x.y", "tags": {"classe": "labo", "é": '"'}},
    {"kind": "object", "size": 5, "sha256": "ab" * 32, "path": "data/x", "source_digests": {"etag": '"a"'}, "order": 3, "latest": True, "version": "v"},
    {"kind": "object", "size": 7, "sha256": "ab" * 32, "stored_in": {"archive": "sha256:" + "0" * 64, "path": "data/files/x"}},
    {"kind": "object", "size": 9, "sha256": "ab" * 32, "path": "data/o/1.age", "age": {"sha256": "ef" * 32, "size": 300}},
    {"kind": "delete_marker", "order": 1, "latest": False, "version": "w"},
    {"kind": "link", "target": "../x", "posix": {"mode": "0777", "uid": 0, "xattrs": [{"name": "user.a", "value": "eA=="}]}},
    {"kind": "skipped", "reason": "fifo"},
    {"kind": "directory", "losses": [{"name": "acl", "parked": None}, {"name": "owner", "parked": "/posix"}], "unknown": [1, {"a": None}]},
]  # fmt: skip


def line_of(key: str, form: dict[str, Any]) -> bytes:
    return canonical.dumps({"evidence": "read", "salt": SALT, **form, **canonical.text_members("key", key)})


def sealed(lines: list[bytes]) -> bytes:
    """A file with these lines and the seal that fits them: what is wrong with it is in the lines."""
    root = tree.Root()
    octets = 0
    for line in lines:
        root.add(line)
        try:
            plain = canonical.load_object(line)
            octets += plain["size"] if plain["kind"] == "object" else 0
        except (ManifestError, KeyError, TypeError):
            pass
    above = b"".join(line + b"\n" for line in (ARCHIVE.to_line(), *lines))
    digest = hashlib.sha256(above).hexdigest()
    octets = min(octets, canonical.LARGEST)
    seal = {"bytes": octets, "count": len(lines), "root": root.digest().hex(), "sha256": digest}
    return above + canonical.dumps({"seal": seal}) + b"\n"


def strictly(data: bytes) -> Summary:
    reader = ManifestReader(io.BytesIO(data))
    for _ in reader.lines():
        pass
    return reader.summary


def outcome(read: Callable[[bytes], Summary], data: bytes) -> object:
    try:
        return read(data)
    except ManifestError as error:
        return type(error), error.line


def by_slices(data: bytes) -> Summary:
    return read_manifest(io.BytesIO(data))


def ordered(keys: list[str], forms: list[int]) -> list[bytes]:
    lines = {}
    for key, form in zip(keys, forms, strict=False):
        line = line_of(key, FORMS[form])
        lines[place_of(canonical.load_object(line))] = line
    return [lines[place] for place in sorted(lines)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
manifests = st.builds(
    ordered,
    st.lists(texts, min_size=1, max_size=12, unique=True),
    st.lists(st.integers(0, len(FORMS) - 1), min_size=12, max_size=12),
)


@pytest.fixture(autouse=True)
def _learns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_ALIKE", 1)
    monkeypatch.setattr(slices, "_known", {True: [], False: []})


def test_every_form_of_a_line_can_be_learned() -> None:
    for form in FORMS:
        data = line_of("a", form)
        shape = shape_of(canonical.load_object(data), data, archive=True)
        assert shape is not None, form
        assert shape.pattern.groups == len(Row._fields)
        other = line_of("patients/é", form)
        found = shape.pattern.fullmatch(other)
        assert found is not None
        row = Row(*found.groups())
        assert row.key == "patients/é".encode()
        assert (row.path, row.order) == (form.get("path", "").encode(), str(form.get("order", "")).encode())


@settings(max_examples=150, deadline=None)
@given(manifests, st.integers(1, 400))
def test_slices_of_any_size_say_what_the_lines_say(lines: list[bytes], size: int) -> None:
    before = slices.SIZE
    slices.SIZE = size
    try:
        data = sealed(lines)
        assert by_slices(data) == strictly(data)
    finally:
        slices.SIZE = before


MUTATIONS: list[tuple[bytes, bytes]] = [
    (b'"size":5', b'"size":05'), (b'"size":5', b'"size":-5'), (b'"size":5', b'"size":5.0'), (b'"size":5', b'"size":"5"'),
    (b'"size":5', b'"size":9007199254740992'), (b'"size":5', b'"size":9007199254740991'), (b'"size":5', b'"size": 5'),
    (b"ab", b"AB"), (b"ab", b"a"), (b"data/", b"/data/"), (b"data/", b"data//"), (b"data/", b"data/../"), (b"data/", b"../"),
    (b"data/files/x", b"data/files/\xc2\x85"), (b"data/files/x", b"data/files/\xe2\x80\xa8"), (b"data/files/x", b"data/files/.x"),
    (b"data/files/x", b"data/files/x/"), (b"data/files/x", b"data/files/\\\\x"), (b"data/files/x", b"data/files/\x7f"),
    (b"data/files/x", b"data/files/\xff"), (b"data/files/x", b"data/files/\xed\xa0\x80"), (b"data/files/x", b"data/files/\\u0041"),
    (b'"evidence":"read"', b'"evidence":"none"'), (b'"evidence":"read"', b'"evidence":"listed"'), (b'"salt":"R', b'"salt":"'),
    (b"9g==", b"9h=="), (b'"kind":"object"', b'"kind":"thing"'), (b'"kind":"object"', b'"kind":"link"'), (b'"key":"', b'"key":"\\/'),
    (b'"key":"', b'"key":"\\n'), (b'"key":"', b'"key":"\x01'), (b'"key":"', b'"key":"\\ud800'), (b'{"age"', b'{"a":1,"age"'),
    (b'"attempts":1', b'"attempts":1,"attempts":1'), (b'"attempts":1', b'"attempts":true'), (b'"order":3', b'"order":-3'),
    (b'"latest":true', b'"latest":null'), (b'{"classe":"labo",', b'{"zz":"labo",'), (b'"', b"'"), (b"}", b"}}"), (b",", b", "),
    (b'"losses":[', b'"losses":[1,'), (b'"parked":null', b'"parked":1'), (b'"unknown":[1', b'"unknown":[1.5'), (b"{", b'{"seal":1,'),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_a_mutated_line_has_one_outcome(number: int) -> None:
    """The shape of the line is known when its mutant comes: every rule must be in the pattern, or be asked strictly."""
    form = FORMS[number]
    good = [line_of(f"a{index}", form) for index in range(3)]
    assert isinstance(outcome(by_slices, sealed(good)), Summary)
    hits = 0
    for old, new in MUTATIONS:
        victim = good[1].replace(old, new, 1)
        if victim == good[1]:
            continue
        data = sealed([good[0], victim, good[2]])
        assert outcome(by_slices, data) == outcome(strictly, data), victim
        hits += 1
    assert hits > 10


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(FORMS) - 1), st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
def test_a_line_changed_anywhere_has_one_outcome(number: int, at: int, put: bytes, cut: int) -> None:
    good = line_of("patients/dossier", FORMS[number])
    at %= len(good)
    changed = good[:at] + put + good[at + cut :]
    if b"\n" in changed:
        return
    data = sealed([line_of("a", FORMS[number]), changed])
    assert outcome(by_slices, data) == outcome(strictly, data)
    shape = shape_of(canonical.load_object(good), good, archive=True)
    if shape is not None and shape.pattern.fullmatch(changed) is not None and _is_utf8(changed):
        line = canonical.load_object(changed)  # what matches is canonical, keeps every rule, and is what the row says
        check_line(line, archive=True)
        row = Row(*shape.pattern.fullmatch(changed).groups())  # type: ignore[union-attr]  # it matched just now
        assert row.key == key_bytes(line)
        assert b'{"key":"%b"' % row.key in census_leaf_of(line)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: lines[::-1],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:3], b"", *lines[3:]],
        lambda lines: [*lines, b"x"],
    ],
)
@pytest.mark.parametrize("size", [1, 300, 1 << 18])
def test_order_and_lines_that_are_none_are_refused_at_their_line(spoil: Any, size: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(slices, "SIZE", size)
    data = sealed(spoil([line_of(f"a{index}", FORMS[0]) for index in range(6)]))
    refused = outcome(by_slices, data)
    assert refused == outcome(strictly, data)
    assert isinstance(refused, tuple)


def test_what_is_cut_or_goes_on_is_refused_at_every_byte() -> None:
    data = sealed([line_of(f"a{index}", FORMS[0]) for index in range(2)])
    assert isinstance(outcome(by_slices, data), Summary)
    for end in range(len(data)):
        assert isinstance(outcome(by_slices, data[:end]), tuple), end
    for more in (b"\n", b"x", b"x\n", data):
        assert isinstance(outcome(by_slices, data + more), tuple)


def test_shapes_beyond_those_that_are_kept_are_read_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_SHAPES", 2)
    lines = [line_of(f"a{index:03}", {**FORMS[0], f"member{index % 7}": "x"}) for index in range(70)]
    data = sealed(lines)
    assert by_slices(data) == strictly(data)
    assert len(slices._known[True]) == 2
