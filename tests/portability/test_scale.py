"""What the ledger is asked costs the same for each thing, however many there are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors import Entry, Location, connect
from connectors.memory import Memory
from connectors.streams import BytesStream
from portability.job import Job
from portability.ledger import Ledger
from portability.migrate import migrate
from portability.pool import batch_of

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts"))
from benchmarks import scale


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


def told(what: str, count: int, *, cpu: float, mib: int = 50) -> dict[str, Any]:
    phase = {"name": "seal", "wall": 1.0, "driver": cpu, "workers": 0.0, "rss": mib << 20, "worker": 0}
    return {"what": what, "count": count, "phases": [phase], "sizes": {"manifest.jsonl": 400 * count}}


@pytest.mark.parametrize(
    ("most", "reason"),
    [
        ({"cpu": 10.0}, ""),
        ({"cpu": 12.9}, ""),
        ({"cpu": 13.1}, "1.31 times as long"),
        ({"cpu": 10.0, "mib": 257}, "257 MiB"),
    ],
)
def test_the_measurement_says_what_grows(most: dict[str, Any], reason: str) -> None:
    lines, broken = scale.rows([told("migrate", 10_000, cpu=1.0), told("migrate", 100_000, **most)])
    assert len(lines) == 4
    assert [one for one in broken if reason and reason in one] == broken
    assert bool(broken) is bool(reason)


def test_the_measurement_moves_proves_exports_and_checks_what_it_counts(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    command = [sys.executable, scale.__file__, "--count", "40", "--scratch", str(tmp_path), "--keep", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [run["what"] for run in runs] == list(scale.ORDER)
    assert {"census", "plan", "transfer", "verify", "seal"} <= {phase["name"] for phase in runs[0]["phases"]}
    assert all(phase["rss"] > 0 for run in runs for phase in run["phases"] if sys.platform == "linux")


@pytest.mark.parametrize(
    ("things", "window", "size"), [(5, 8, 8), (100, 8, 13), (1000, 8, 125), (10**8, 8, 128), (9, 0, 9)]
)
def test_a_batch_is_large_but_leaves_work_for_every_worker(things: int, window: int, size: int) -> None:
    assert batch_of(things, window) == size


def test_four_times_the_things_take_about_four_times_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps(2000, tmp_path, monkeypatch) < 6 * steps(500, tmp_path, monkeypatch)
