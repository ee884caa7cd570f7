"""What a drill under way must know to go on after a kill: one small file in its folder, replaced whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.files import create_private
from portability.drill.folder import STATE
from portability.errors import EvidenceError

FORMAT = "portability-drill-state/1"
Step = Literal["export", "restore", "record", "finish"]
"""What is done next; `finish`: the record is written, what follows from it may not be."""


@dataclass(slots=True, kw_only=True)
class State:
    """Changed as the drill goes on, saved at every step."""

    id: str
    token: str
    """Makes the names of the scratch folders nobody else's."""
    started: str
    identity: dict[str, Any]
    """What must be the same for the drill to be gone on with."""
    credentials: dict[str, str | None] = field(default_factory=dict)
    """Url of a scratch place -> reference, for a later run whose job names other places."""
    turn: dict[str, Any] | None = None
    canaries: list[str] = field(default_factory=list)
    """Keys that are drawn whatever the sample."""
    step: Step = "export"
    archive: str = ""
    """Name of the archive's folder, once it is about to be closed."""
    archive_id: str | None = None
    milliseconds: dict[str, int] = field(default_factory=dict)
    rate: dict[str, Any] | None = None
    """What left the source when."""
    facts: dict[str, Any] | None = None
    """What the export's ledger held."""
    verification: dict[str, Any] | None = None
    """What the archive's own verification found."""
    outcome: dict[str, Any] | None = None
    """How the restore ended."""
    quote: dict[str, Any] | None = None
    unfinished: int = 0
    """Drills given up before this one."""
    format: str = FORMAT

    @property
    def scratch(self) -> str:
        """The name of everything that this drill creates in a scratch place."""
        return f"portability-drill-{self.id}-{self.token}"

    def save(self, folder: Path) -> None:
        part = folder / f"{STATE}.part"
        with create_private(part) as out:
            out.write(json.dumps(asdict(self), sort_keys=True).encode())
            out.flush()
            os.fsync(out.fileno())
        part.replace(folder / STATE)

    @classmethod
    def load(cls, folder: Path) -> State:
        """EvidenceError if it is not ours."""
        path = folder / STATE
        try:
            plain = json.loads(path.read_bytes())
            state = cls(**plain)
        except (ValueError, TypeError) as error:
            raise _damaged(path) from error
        if state.format != FORMAT:
            raise _damaged(path)
        return state


def _damaged(path: Path) -> EvidenceError:
    return EvidenceError(
        f"{path} is damaged, or of another version",
        hint="remove the folder portability-drill-… of that date from the scratch places, then this drill's folder",
    )
