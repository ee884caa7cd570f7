"""What a command shows: results on stdout, as text for people or JSON lines for programs; everything else on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import click

from portability.progress import Progress, Silent

OURS = ("portability", "connectors", "manifests")


@dataclass(slots=True)
class Screen:
    """The options that every command has, and the one way out for its words."""

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    _watched: bool = False

    def result(self, text: str, records: Iterable[Mapping[str, Any]]) -> None:
        """The one thing that a command prints."""
        if self._watched and sys.stdout.isatty() and sys.stderr.isatty():
            self._write(sys.stderr, "")  # on one screen the result stands apart from the progress
        self._write(sys.stdout, "\n".join(json.dumps(record) for record in records) if self.json else text)

    def error(self, message: str, hint: str, *, code: int) -> None:
        """One cause, one thing to do."""
        first, *more = message.splitlines() or [""]
        lines = [f"{click.style('error:', fg='red', bold=True)} {first}", *(f"       {line}" for line in more)]
        if hint:
            lines.append(f"  → {hint}")
        self._write(sys.stderr, "\n".join(lines))
        if self.json:
            record = {"type": "error", "code": code, "message": message, "hint": hint}
            self._write(sys.stdout, json.dumps(record))

    def trace(self, text: str) -> None:
        self._write(sys.stderr, text.rstrip())

    def progress(self) -> Progress:
        """Bars on a terminal, a line now and then elsewhere, nothing when asked for quiet. Logging begins here too."""
        self._log()
        if self.quiet:
            return Silent()
        from portability.cli.watch import Bars, Lines

        self._watched = True
        # Log lines would tear the bars apart.
        bars = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not self.verbose
        return Bars(sys.stderr) if bars else Lines(sys.stderr)

    def _log(self) -> None:
        # Only our own loggers speak: those of the SDKs write request headers and traces.
        logging.getLogger().addHandler(logging.NullHandler())
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        if not self.verbose:
            return
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for name in OURS:
            logger = logging.getLogger(name)
            logger.handlers[:] = [handler]
            logger.setLevel(logging.INFO if self.verbose == 1 else logging.DEBUG)
            logger.propagate = False

    def _write(self, stream: TextIO, text: str) -> None:
        """A reader that went away (`| head`) changes nothing: the exit code still says how the work ended."""
        color = stream.isatty() and not os.environ.get("NO_COLOR")
        encoding = stream.encoding or "utf-8"
        safe = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            click.echo(safe, file=stream, color=color)
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
