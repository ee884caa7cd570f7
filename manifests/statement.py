"""Statements: what becomes true of an archive or a manifest after it was closed, as in-toto Statement v1."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manifests.errors import FormatError

TYPE = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
"""A drill's verdict."""
TRANSFER, RECEIPT = "portability:transfer/1", "portability:receipt/1"
ERASURE, KEY = "portability:erasure/1", "portability:key/1"

_SHORT = {TEST_RESULT: "drill", TRANSFER: "transfer", RECEIPT: "receipt", ERASURE: "erasure", KEY: "key"}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file that a statement is about: the tag manifest of an archive, or a manifest."""

    name: str
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The in-toto resource descriptor, also used for the files of a predicate."""
        if not _SHA256.fullmatch(self.sha256):
            raise FormatError("a subject without its SHA-256", rule="6, statements")
        return {"name": self.name, "digest": {"sha256": self.sha256}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A claim with a date of its own; signed and verified as exact bytes, in the namespace of statements."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file, one line."""
        if not self.subjects:
            raise FormatError("a statement about nothing", rule="6, statements")
        plain = {
            "_type": TYPE,
            "subject": [subject.to_dict() for subject in self.subjects],
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }
        return (json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Statement:
        """The statement in this file; unknown predicate types are kept, a member named twice is refused."""
        try:
            plain = json.loads(data, object_pairs_hook=_once)
            subjects = tuple(
                Subject(name=subject["name"], sha256=subject["digest"]["sha256"]) for subject in plain["subject"]
            )
            statement = cls(subjects=subjects, predicate_type=plain["predicateType"], predicate=plain["predicate"])
            texts = [
                statement.predicate_type,
                *(text for subject in subjects for text in (subject.name, subject.sha256)),
            ]
            known = plain["_type"] == TYPE and isinstance(statement.predicate, dict)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError("not an in-toto statement", rule="6, statements") from error
        if not known or not subjects or not all(type(text) is str for text in texts):
            raise FormatError("not an in-toto statement", rule="6, statements")
        for subject in subjects:
            subject.to_dict()
        return statement

    def is_about(self, sha256: str) -> bool:
        """Whether a file with this digest is a subject."""
        return any(subject.sha256 == sha256 for subject in self.subjects)

    def file_name(self, number: int) -> str:
        """`NNNN-<type>.json`, its name below `signatures/statements/`."""
        return f"{number:04}-{_SHORT.get(self.predicate_type, 'other')}.json"


def drill_result(
    subject: Subject,
    *,
    passed: Sequence[str] = (),
    warned: Sequence[str] = (),
    failed: Sequence[str] = (),
    configuration: Sequence[Subject] = (),
) -> Statement:
    """What a drill found: FAILED if anything failed or nothing was tested, WARNED if there are warnings, else PASSED."""
    result = "FAILED" if failed or not (passed or warned) else "WARNED" if warned else "PASSED"
    return Statement(
        subjects=(subject,),
        predicate_type=TEST_RESULT,
        predicate={
            "result": result,
            "configuration": [file.to_dict() for file in configuration],
            "passedTests": list(passed),
            "warnedTests": list(warned),
            "failedTests": list(failed),
        },
    )


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(members)
    if len(plain) != len(members):
        raise ValueError("a member named twice")
    return plain
