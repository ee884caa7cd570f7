"""The command line: one thin module per command, each of which reads arguments, calls one function, prints one thing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from portability.cli.app import application
from portability.cli.failure import end_calmly, interruptible
from portability.cli.screen import Screen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script `portability`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    screen = Screen()
    try:
        with interruptible():
            code = application.main(words, prog_name="portability", standalone_mode=False, obj=screen)
    except BaseException as error:  # noqa: BLE001 - every way a command can end becomes a sentence and an exit code
        # A mistake in the arguments may stand before --json was read.
        screen.json = screen.json or "--json" in words
        code = end_calmly(error, screen)
    return code if isinstance(code, int) else 0
