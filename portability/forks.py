"""The process that workers are forked from."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence

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
