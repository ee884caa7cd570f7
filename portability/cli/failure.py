"""How a command ends that does not end well: one line of cause, one of remedy, the right exit code, no traceback."""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from connectors import (
    ColdError,
    ConnectorError,
    FullError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from manifests.errors import ManifestError
from portability.cli.screen import OURS, Screen
from portability.errors import PortabilityError, exit_code
from portability.outcome import printable

_HINTS: tuple[tuple[type[Exception], str], ...] = (  # the first that fits
    (LocationError, "the urls and options of every kind of place: portability connectors"),
    (NotFoundError, "check the name in the url, and that these credentials may see it"),
    (
        PermissionDeniedError,
        "check the credentials: each side takes a reference such as env:OLD, profile:NAME, file:PATH, agent or prompt",
    ),
    (UnavailableError, "check the url and the network, then run the same command again"),
    (FullError, "make room there, then run the same command again: it goes on where it stopped"),
    (ColdError, "ask the host to restore these objects from the cold tier, then run the same command again"),
    (UnsupportedError, "what every kind of place can do: portability connectors"),
    (ConnectorError, "run the same command again; if it ends like this again, run it with -vv"),
    (ManifestError, "do not rely on this copy of the evidence: fetch it again from another copy"),
)


_REMEDIES = {
    3: "to see all of it beforehand: portability plan, with the same options",
    5: "mend what it names, then run the same command again",
    6: "do not rely on this copy of the evidence: fetch it again from another copy",
    130: "run the same command again to go on",
}
"""What to do after an error of ours that does not say so itself, by exit code."""


def end_calmly(error: BaseException, screen: Screen) -> int:
    """Say why a command ended, and return its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    code, message, hint = explain(error)
    screen.error(message, hint, code=code)
    if screen.verbose > 1:
        screen.trace("".join(traceback.format_exception(error)))
    return code


def explain(error: BaseException) -> tuple[int, str, str]:
    """Exit code, cause and remedy."""
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "portability"
            return 2, error.format_message(), f"{command} --help"
        case click.ClickException():
            return 2, error.format_message(), ""
        case click.Abort() | KeyboardInterrupt():
            return 130, "interrupted", "run the same command again to go on"
        case PortabilityError():
            return error.exit_code, error.message, error.hint or _REMEDIES.get(error.exit_code, "")
        case ConnectorError():
            return exit_code(error), _about(error), _hint(error)
        case ManifestError():
            return exit_code(error), str(error), _hint(error)
        case SystemExit():
            return (error.code if isinstance(error.code, int) else 1), "stopped", ""
        case OSError() if error.filename is not None:
            return 5, printable(f"{error.filename}: {error.strerror}"), "check that it exists, and its permissions"
        case MemoryError():
            return 5, "this machine has no memory left", "use fewer --workers, then run the same command again"
        case _:
            # The text of an error that nobody foresaw may hold a key or worse; its type and place cannot.
            return (
                1,
                f"a bug in portability: {type(error).__name__}{_place(error)}",
                ("please report it; run with -vv for the trace"),
            )


def _about(error: ConnectorError) -> str:
    """The message with the place and the key, where it does not name them itself."""
    about = []
    if error.host and error.host not in error.message:
        about.append(error.host)
    if error.key is not None and error.key not in error.message:
        about.append(f'"{printable(error.key)}"')
    message = printable(error.message) or type(error).__name__
    return f"{message} ({', '.join(about)})" if about else message


def _hint(error: Exception) -> str:
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")


def _place(error: BaseException) -> str:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if set(OURS) & set(Path(frame.filename).parts)
    ]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
