"""Command lines as a person can copy them into the shell of this machine."""

from __future__ import annotations

import os
import shlex
import subprocess


def command_line(*words: object) -> str:
    """The words, each quoted where a shell would take it for something else."""
    told = [str(word) for word in words]
    return subprocess.list2cmdline(told) if os.name == "nt" else shlex.join(told)
