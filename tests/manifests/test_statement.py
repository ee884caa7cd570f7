"""Statements are in-toto Statements about files with known digests."""

from __future__ import annotations

import json
import re

import pytest
from test_format_document import DOCUMENT

from manifests.errors import FormatError
from manifests.statement import ERASURE, Statement, Subject, drill_result

ARCHIVE = Subject(name="tagmanifest-sha256.txt", sha256="ab" * 32)


def test_the_statement_of_the_format_is_written() -> None:
    plan = Subject(name="drill-plan.json", sha256="cd" * 32)
    data = drill_result(ARCHIVE, passed=["restored-bytes-equal"], configuration=[plan]).to_bytes()
    documented = re.search(r'^\{"_type".*$', DOCUMENT, re.MULTILINE)
    assert documented
    assert data.decode().replace("ab" * 32, "…").replace("cd" * 32, "…") == documented[0] + "\n"


def test_a_statement_survives_and_knows_what_it_is_about() -> None:
    statement = Statement(subjects=(ARCHIVE,), predicate_type="urn:unknown", predicate={"é": [1, None]})
    again = Statement.from_bytes(statement.to_bytes())
    assert again == statement
    assert again.is_about(ARCHIVE.sha256)
    assert not again.is_about("cd" * 32)
    assert again.file_name(7) == "0007-other.json"
    assert Statement(subjects=(ARCHIVE,), predicate_type=ERASURE).file_name(12) == "0012-erasure.json"


@pytest.mark.parametrize(
    ("tests", "result"),
    [({"passed": ["a"]}, "PASSED"), ({"passed": ["a"], "warned": ["b"]}, "WARNED"), ({"passed": ["a"], "failed": ["b"]}, "FAILED"), ({}, "FAILED")],
)  # fmt: skip
def test_a_drill_that_tested_nothing_has_failed(tests: dict[str, list[str]], result: str) -> None:
    assert drill_result(ARCHIVE, **tests).predicate["result"] == result


def test_anything_else_is_refused() -> None:
    good = json.loads(drill_result(ARCHIVE, passed=["a"]).to_bytes())
    wrong = [
        {**good, "_type": "https://in-toto.io/Statement/v0.1"},
        {**good, "subject": []},
        {**good, "subject": [{"name": "x", "digest": {"sha256": "AB"}}]},
        {**good, "subject": [{"name": "x", "digest": {}}]},
        {**good, "subject": 3},
        {**good, "predicate": []},
        {**good, "predicateType": 1},
        {"_type": good["_type"]},
        [],
    ]
    for document in wrong:
        with pytest.raises(FormatError):
            Statement.from_bytes(json.dumps(document).encode())
    for data in (
        b"",
        b"[" * 100_000,
        b"\xff",
        drill_result(ARCHIVE).to_bytes().replace(b'"_type"', b'"_type":"x","_type"'),
    ):
        with pytest.raises(FormatError):
            Statement.from_bytes(data)
    for subjects in ((), (Subject(name="x", sha256="short"),)):
        with pytest.raises(FormatError):
            Statement(subjects=subjects, predicate_type=ERASURE).to_bytes()
