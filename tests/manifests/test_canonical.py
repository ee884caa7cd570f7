"""One value has one byte form, and nothing else is read."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical
from manifests.errors import FormatError, ManifestError, SealError

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-canonical.LARGEST, canonical.LARGEST)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)
names = st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(values)
def test_reading_what_was_written_gives_the_value_and_its_bytes(value: Any) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data
    assert json.loads(data) == value
    assert b"\n" not in data


@given(st.binary())
def test_bytes_are_either_canonical_or_refused(data: bytes) -> None:
    try:
        value = canonical.loads(data)
    except FormatError:
        return
    assert canonical.dumps(value) == data


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"b": 1, "a": {"é": True, "z": None}}, '{"a":{"z":null,"é":true},"b":1}'.encode()),
        ('\x00\x1f\b\t\n\f\r"\\/\x7f\u2028é', '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\x7f\u2028é"'.encode()),
        ({"\uffff": 1, "\U00010000": 2}, '{"\uffff":1,"\U00010000":2}'.encode()),  # code points, not UTF-16 units
        ([], b"[]"),
        (2**53 - 1, b"9007199254740991"),
    ],
)
def test_the_form_is_the_one_of_the_document(value: Any, data: bytes) -> None:
    assert canonical.dumps(value) == data
    assert canonical.loads(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"1.0", b"1e3", b"-0", b"01", b"NaN", b"Infinity", b"-Infinity", b"9007199254740992", b"9" * 5000,
        b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'{"b":1,"a":1}', b'{"a": 1}', b' {"a":1}', b'{"a":1}\n', b'{"a":1}\r',
        b'"\\u00e9"', b'"\\u001F"', b'"\\u000a"', b'"\\/"', b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\x01"',
        b"\xef\xbb\xbf{}", b"", b"{", b"{}{}", b"[" * 100_000, b'"\\u00e9', b"tru", "\u00a01".encode(),
    ],
)  # fmt: skip
def test_every_other_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        canonical.loads(data)


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), 2**53, -(2**53), {1: "a"}, {True: 1}, "\udc80", b"a", {"a"}, object()]
)
def test_what_has_no_canonical_form_is_not_written(value: Any) -> None:
    with pytest.raises(FormatError):
        canonical.dumps({"value": value})


@given(names)
def test_a_text_of_any_bytes_survives(text: str) -> None:
    members = canonical.text_members("key", text)
    exact = text.encode("utf-8", "surrogateescape")
    assert (
        canonical.text_of(canonical.loads(canonical.dumps(members)), "key").encode("utf-8", "surrogateescape") == exact
    )
    assert ("key_b64" in members) == (canonical.text_of(members, "key").encode("utf-8", "replace") != exact)


def test_the_base64_twin_has_one_spelling_and_is_there_only_when_needed() -> None:
    odd = b"r\xe9sum\xe9.txt".decode("utf-8", "surrogateescape")
    assert canonical.text_members("key", odd) == {"key": "r\ufffdsum\ufffd.txt", "key_b64": "culzdW3pLnR4dA=="}
    for spelled in (
        "YQ==",
        "culzdW3pLnR4dA",
        "culzdW3pLnR4dA==\n",
        "culzdW3pLnR4dB==",
        7,
        "",
    ):  # the first is valid UTF-8
        with pytest.raises(FormatError):
            canonical.text_of({"key": "r\ufffdsum\ufffd.txt", "key_b64": spelled}, "key")
    with pytest.raises(FormatError, match="approximate"):
        canonical.text_of({"key": "autre", "key_b64": "culzdW3pLnR4dA=="}, "key")
    with pytest.raises(FormatError):
        canonical.text_members("key", "\ud800")


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 - made aware below
def test_times_survive(naive: datetime) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=2)))
    assert canonical.time_of(canonical.time_text(moment)) == moment


def test_times_are_utc_with_z() -> None:
    moment = datetime(2026, 11, 21, 9, 2, 11, tzinfo=UTC)
    assert canonical.time_text(moment) == "2026-11-21T09:02:11Z"
    assert canonical.time_text(moment.replace(microsecond=120_000)) == "2026-11-21T09:02:11.120Z"
    assert canonical.time_of("2026-11-21T09:02:11.123456789Z") == moment.replace(microsecond=123_456)
    for text in (
        "2026-11-21T09:02:11",
        "2026-11-21T09:02:11+00:00",
        "2026-11-21 09:02:11Z",
        "2026-13-21T09:02:11Z",
        "٢026-11-21T09:02:11Z",
        "2026-11-21T09:02:11.Z",
    ):
        with pytest.raises(FormatError):
            canonical.time_of(text)
    with pytest.raises(FormatError):
        canonical.time_text(moment.replace(tzinfo=None))


def test_errors_survive_pickling_with_their_context() -> None:
    error = SealError("cut", file="manifest.jsonl", line=12, rule="3.6, seal")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.line, again.rule) == (SealError, str(error), 12, "3.6, seal")
    assert str(error) == "manifest.jsonl, line 12: cut (rule: 3.6, seal)"
    assert isinstance(again, ManifestError)
