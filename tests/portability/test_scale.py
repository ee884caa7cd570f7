"""What the ledger is asked costs the same for each thing, however many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors import Entry, Location, connect
from connectors.memory import Memory
from connectors.streams import BytesStream
from portability.job import Job
from portability.ledger import Ledger
from portability.migrate import migrate


def steps(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Steps of SQLite's machine in a whole migration of so many things."""
    source: Memory = connect(Location.parse(f"memory://source-{count}"))
    for number in range(count):
        source.put(Entry(key=f"{number:06d}", size=1), BytesStream(b"x"))
    seen = 0

    def counted() -> int:
        nonlocal seen
        seen += 1
        return 0

    class Watched(Ledger):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self._db.set_progress_handler(counted, 100)

    monkeypatch.setattr("portability.migrate.Ledger", Watched)
    job = Job(
        source=Location.parse(f"memory://source-{count}"),
        destination=Location.parse(f"memory://destination-{count}"),
        evidence=folder / str(count),
    )
    assert migrate(job).proven
    return seen


def test_four_times_the_things_take_about_four_times_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps(2000, tmp_path, monkeypatch) < 6 * steps(500, tmp_path, monkeypatch)
