"""Errors that end a command, and the exit code of each (archive-format.md 3.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.errors import ManifestError

EXIT_CODES: Mapping[int, str] = {
    0: "done; where a verdict was asked for: PROVEN",
    1: "a bug in the toolkit",
    2: "wrong usage",
    3: "finished, but something failed, was refused or is not proven",
    4: "verification found differences",
    5: "a place could not be opened",
    6: "evidence (ledger, manifest, archive) is damaged, or unsigned when a signature was demanded",
    130: "interrupted; run the same command again to go on",
}


class PortabilityError(Exception):
    """A command ends here: what happened, to what, what to do. `hint` is the last part when it stands alone."""

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[PortabilityError], message: str, hint: str) -> PortabilityError:
    return kind(message, hint=hint)


class UsageError(PortabilityError):
    """The command, the job file or a url is wrong; nothing was contacted or changed."""

    exit_code = 2


class RefusedError(PortabilityError):
    """The work as planned was refused before byte one; nothing was moved."""

    exit_code = 3


class PlaceError(PortabilityError):
    """A place (a host, or the evidence folder) could not be opened, listed or used."""

    exit_code = 5


class EvidenceError(PortabilityError):
    """Evidence is damaged, unfinished, or not what it must be."""

    exit_code = 6


class InterruptedRunError(PortabilityError):
    """Ctrl-C or SIGTERM: everything done is on disk."""

    exit_code = 130


def exit_code(error: BaseException) -> int:
    """The exit code of an error that ends a command; 1 for one that nobody foresaw."""
    from connectors import ConnectorError, LocationError  # late: who checks an archive needs no host

    match error:
        case PortabilityError():
            return error.exit_code
        case LocationError():
            return 2
        case ConnectorError():
            return 5
        case ManifestError():
            return 6
        case KeyboardInterrupt():
            return 130
        case _:
            return 1
