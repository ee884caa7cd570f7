"""The practice's own command that is told how a drill ended: an argument list, JSON on its stdin, no shell, no waiting for ever."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from portability.drill.record import Record

SECONDS = 60.0
"""That the command may take."""


def notify(command: Sequence[str], told: Mapping[str, Any], *, seconds: float = SECONDS) -> str:
    """Run it; what went wrong in one sentence, or nothing. A drill's verdict does not depend on it."""
    try:
        ended = subprocess.run(
            list(command),
            input=json.dumps(told).encode() + b"\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the notify command {command[0]} took more than {seconds:.0f} seconds and was stopped"
    except OSError as error:
        return f"the notify command {command[0]} cannot be run: {error.strerror}"
    return f"the notify command {command[0]} ended with code {ended.returncode}" if ended.returncode else ""


def of_record(record: Record) -> dict[str, Any]:
    """The record without folder names, which may be personal data."""
    plain: dict[str, Any] = record.model_dump(mode="json")
    del plain["folders"]
    return {"type": "drill", **plain}


def of_error(job: str, *, code: int, kind: str) -> dict[str, Any]:
    """A drill that ended without a record. The text of the error stays on the screen: it may name a key."""
    return {"type": "error", "job": job, "exit_code": code, "error": kind}
