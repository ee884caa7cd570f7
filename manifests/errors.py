"""What can be wrong with a piece of evidence; every one of these is exit code 6."""

from __future__ import annotations

from typing import Any


class ManifestError(Exception):
    """A piece of evidence is damaged, unfinished or forged, and is refused as a whole.

    `file` is the file's name, `line` its line number from 1, `rule` the sentence of the format that was broken.
    No message carries a key, a value or a whole line: evidence is health data. Survives pickling with its context.
    """

    def __init__(self, message: str = "", *, file: str = "", line: int | None = None, rule: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.rule = rule

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.file, self.line, self.rule))

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, f"line {self.line}" if self.line is not None else "") if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} (rule: {self.rule})" if self.rule else text


def _rebuild(kind: type[ManifestError], message: str, file: str, line: int | None, rule: str) -> ManifestError:
    return kind(message, file=file, line=line, rule=rule)


class FormatError(ManifestError):
    """The bytes do not have the form which the format demands."""


class VersionError(ManifestError):
    """The format names a version that this program does not know."""


class SealError(ManifestError):
    """The seal is missing, wrong, or not the end: unfinished or altered."""


class SignatureError(ManifestError):
    """The signature is invalid, absent although demanded, or made by another key."""
