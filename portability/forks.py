"""The process that workers are forked from: this one where it can be copied, else a server that does nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAFE_PATH = "PYTHONSAFEPATH"


def start(preload: Sequence[str]) -> None:
    """Start the fork server, if it does not run, and have it import these modules. Only where `offered`.

    Python puts the current folder first where it looks for modules of a program given by `-c`, as the fork server's is: a
    folder `portability` that lies there, an old checkout or somebody's trap, would run with the practice's credentials.
    """
    from multiprocessing import forkserver  # here, because it is not for every system

    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def offered() -> bool:
    """Whether this system has fork servers."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def copyable() -> bool:
    """Whether a copy of this process would be whole: on Linux, where a fork is meant to be, and with one thread, of whoever.

    A copy has only the thread that made it; what the others held locked or had half done stays so in it for ever.
    """
    try:
        return sys.platform == "linux" and len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals wait: a copy made meanwhile gets none before `settle`, when it no longer has what this process does about them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle() -> None:
    """What a worker does about signals, whatever it was made from."""
    # Ctrl-C reaches the whole terminal: the driver decides, workers finish what they hold.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
