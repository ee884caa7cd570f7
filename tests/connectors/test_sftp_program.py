"""SFTP through the system's ssh program: nothing secret is handed over, and no process, file or message stays behind."""

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.entry import Entry
from connectors.errors import AlreadyExistsError, ConnectorError, LocationError, UnavailableError
from connectors.keys import PARTIAL_FOLDER
from connectors.registry import connect
from connectors.sftp.program import Program
from connectors.streams import BytesStream
from connectors.testing.base import content, drain, keys, pattern


@pytest.fixture
def location(sshd):
    return by("ssh", sshd.place())


@pytest.fixture
def folder(sshd, location):
    return sshd.on_disk(location)


def by(transport, location):
    return replace(location, options={**location.options, "transport": transport})


def child(place):
    """The running program of a place."""
    duplex = place._remote.wire._duplex
    assert isinstance(duplex, Program)
    return duplex._process


class Killing(BytesStream):
    """A body in whose middle the program of a place is killed."""

    def __init__(self, data, place):
        super().__init__(data)
        self.place = place

    def read(self, size=-1, /):
        piece = super().read(size)
        if self._at > 5 << 20 and child(self.place).poll() is None:
            child(self.place).send_signal(signal.SIGKILL)
            child(self.place).wait(10)
        return piece


def test_a_program_killed_in_a_put_is_unavailable_and_the_place_works_on(location, folder):
    place = connect(location)
    first = child(place)
    with pytest.raises(UnavailableError) as caught:
        place.put(Entry(key="d/a", size=20 << 20), Killing(pattern(20 << 20), place))
    assert caught.value.retryable
    assert caught.value.key == "d/a"
    assert keys(place) == []
    assert place.put(Entry(key="d/a", size=1), BytesStream(b"1")).size == 1
    place.close()
    assert not (folder / PARTIAL_FOLDER).exists()  # what the broken conversation left is removed in the next one
    assert first.returncode is not None


def test_a_program_killed_while_reading_is_unavailable(location):
    place = connect(location)
    entry = place.put(Entry(key="a", size=20 << 20), BytesStream(pattern(20 << 20)))
    stream = place.open(entry)
    stream.read(10)
    child(place).kill()
    child(place).wait(10)
    with pytest.raises(UnavailableError) as caught:
        drain(stream)
    assert caught.value.retryable
    assert content(place, entry)[:3] == pattern(20 << 20)[:3]
    assert keys(place) == ["a"]
    place.close()


def test_a_program_killed_in_bulk_fails_what_was_under_way_and_tidies_later(location, folder):
    place = connect(location)
    items = ((Entry(key=f"{n:03}", size=9), b"some data") for n in range(100))
    results = place.put_many(items, 4)
    done = [next(results)]
    child(place).kill()
    child(place).wait(10)
    done += results
    assert sorted(number for number, _ in done) == list(range(100))
    failed = {number for number, end in done if isinstance(end, UnavailableError)}
    assert failed
    assert all(isinstance(end, Entry) for number, end in done if number not in failed)
    stored = {entry.key for _, entry in done if isinstance(entry, Entry)}
    assert stored <= set(keys(place))
    # The server may go on for a moment with what it had received: who begins a run tidies that as well.
    deadline = time.monotonic() + 30
    while (folder / PARTIAL_FOLDER).exists() and time.monotonic() < deadline:
        place.prepare()
    place.close()
    assert not (folder / PARTIAL_FOLDER).exists()


def test_every_program_and_every_open_file_is_gone_after_close(location):
    connect(location).close()  # what is loaded and opened once
    before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    programs = []
    for _ in range(3):
        place = connect(location)
        programs.append(child(place))
        place.close()
        place.close()
    with pytest.raises(ConnectorError):
        connect(replace(location, credentials="env:NOTHING_OF_THIS_NAME"))
    assert all(one.returncode is not None for one in programs)
    if before is not None:
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_no_secret_of_our_environment_reaches_the_program(location, monkeypatch):
    monkeypatch.setenv("SOURCE_PASSWORD", "a-secret-of-ours")
    place = connect(location)
    environment = Path(f"/proc/{child(place).pid}/environ")
    if environment.exists():
        assert b"HOME=" in environment.read_bytes()
        assert b"SOURCE_PASSWORD" not in environment.read_bytes()
    words = child(place).args
    assert words[words.index("StrictHostKeyChecking=yes") - 1] == "-o"
    place.close()


def test_without_the_program_or_with_a_password_paramiko_serves(sshd, location, rclone_sftp, tmp_path, monkeypatch):
    served = connect(by("auto", rclone_sftp.place()))
    assert not isinstance(served._remote.wire._duplex, Program)
    served.close()
    chosen = connect(by("auto", location))
    child(chosen)
    chosen.close()
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = connect(by("auto", location))
    assert not isinstance(absent._remote.wire._duplex, Program)
    absent.close()
    with pytest.raises(UnavailableError, match="no program ssh"):
        connect(location)


def test_a_program_that_cannot_is_replaced_by_paramiko(location, tmp_path, monkeypatch):
    broken = tmp_path / "ssh"
    broken.write_text("#!/bin/sh\necho 'this ssh is out of order' >&2\nexit 255\n")
    broken.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert shutil.which("ssh") == str(broken)
    other = replace(location, user=location.user)
    with pytest.raises(UnavailableError, match="this ssh is out of order"):
        connect(other)
    served = connect(by("auto", other))
    assert not isinstance(served._remote.wire._duplex, Program)
    served.close()


def test_a_secret_cannot_be_handed_over_by_ssh_and_the_error_says_what_can(rclone_sftp):
    with pytest.raises(UnavailableError, match="agent, or a key file without passphrase"):
        connect(by("ssh", rclone_sftp.place()))
    with pytest.raises(LocationError, match="transport"):
        connect(by("telnet", rclone_sftp.place()))


def test_what_is_given_up_in_bulk_leaves_nothing(location, folder):
    place = connect(location)
    place.put(Entry(key="there", size=3), BytesStream(b"old"))
    results = place.put_many(((Entry(key=name, size=3), b"new") for name in ("there", "a", "b", "c")), 4)
    ends = dict([next(results)])
    results.close()
    assert isinstance(ends.get(0, AlreadyExistsError()), AlreadyExistsError)
    place.close()
    assert not (folder / PARTIAL_FOLDER).exists()
    assert (folder / "there").read_bytes() == b"old"
