"""Room at the destination is looked at before the first byte moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import a_job, content, put

from connectors import Location
from connectors.local import Local
from portability.errors import RefusedError
from portability.migrate import migrate, plan


def test_a_destination_without_room_is_refused_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    source, destination = Location.parse(str(tmp_path / "from")), Location.parse(str(tmp_path / "to"))
    put(source, "image.dcm", bytes(5000))
    monkeypatch.setattr(Local, "free", lambda self: 4999)
    job = a_job(source, destination, tmp_path / "evidence")

    assert "room for 4,999 bytes" in plan(job).obstacle
    with pytest.raises(RefusedError, match="needs 5,000"):
        migrate(job)
    assert content(destination) == {}

    monkeypatch.undo()
    assert migrate(job).proven
