"""What the SFTP host promises beyond the contract: links never followed, nothing half-written, odd servers survived."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import paramiko
import pytest

from connectors.entry import Entry, Posix
from connectors.errors import (
    ChangedError,
    ConnectorError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from connectors.keys import PARTIAL_FOLDER, key_text
from connectors.location import Location
from connectors.registry import connect
from connectors.sftp import session
from connectors.streams import BytesStream
from connectors.testing.base import content, drain, keys, pattern


@pytest.fixture
def location(sshd):
    return sshd.place()


@pytest.fixture
def folder(sshd, location):
    return sshd.on_disk(location)


@pytest.fixture
def place(location):
    opened = connect(location)
    yield opened
    opened.close()


def put(place, key, data, **attributes):
    return place.put(Entry(key=key, size=len(data), **attributes), BytesStream(data))


def test_mode_and_time_are_kept_in_whole_seconds(place, folder):
    returned = put(place, "a", b"1", posix=Posix(mode=0o640, mtime_ns=1_551_675_968_123_456_789))
    assert returned.posix.mode == 0o640
    assert returned.posix.mtime_ns == 1_551_675_968_000_000_000
    status = (folder / "a").stat()
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o640, 1_551_675_968)
    assert returned.modified == datetime(2019, 3, 4, 5, 6, 8, tzinfo=UTC)


def test_a_time_before_1970_is_left_out_and_the_entry_says_so(place):
    assert put(place, "a", b"1", modified=datetime(1960, 1, 1, tzinfo=UTC)).modified.year >= 2000


def test_owners_and_modes_that_32_bits_do_not_hold_are_left_out(location, folder):
    with closing(connect(replace(location, options={**location.options, "owner": "keep"}))) as keeping:
        for number, odd in enumerate([{"uid": 1 << 32, "gid": 0}, {"uid": -5, "gid": -5}, {"mode": 1 << 32}]):
            put(keeping, f"a{number}", b"1", posix=Posix(**odd))
    assert all((folder / f"a{number}").read_bytes() == b"1" for number in range(3))


def test_a_link_is_listed_with_its_target_and_not_followed(place, folder):
    (folder / "d").mkdir()
    (folder / "d" / "f").write_bytes(b"x")
    (folder / "way").symlink_to("d")
    (folder / "lost").symlink_to("/nothing/here")
    found = {entry.key: entry for entry in place.list()}
    assert sorted(found) == ["d/f", "lost", "way"]
    assert {key: found[key].posix.target for key in ("lost", "way")} == {"lost": "/nothing/here", "way": "d"}
    assert found["way"].kind == place.stat("way").kind == "link"
    assert content(place, found["way"]) == b""
    assert keys(place, "way/") == []


def test_a_link_swapped_in_after_the_listing_is_refused(place, folder):
    outside = folder.with_name(f"{folder.name}-outside")
    outside.mkdir()
    (outside / "f").write_bytes(b"secret")
    put(place, "d/f", b"inside")
    put(place, "g", b"inside")
    entries = {entry.key: entry for entry in place.list()}
    (folder / "d").rename(folder / "old")
    (folder / "d").symlink_to(outside)
    (folder / "g").unlink()
    (folder / "g").symlink_to(outside / "f")
    for key in ("d/f", "g"):
        with pytest.raises(InvalidKeyError):
            place.open(replace(entries[key], modified=None, posix=None))
    for attempt in (lambda: put(place, "d/new", b"1"), lambda: place.delete("d/f"), lambda: place.stat("d/f")):
        with pytest.raises(InvalidKeyError):
            attempt()
    assert sorted(path.name for path in outside.iterdir()) == ["f"]


def test_a_link_out_of_the_root_is_only_written_when_asked(place, location, folder):
    for target in ("/etc", "../x", "d/../../x"):
        with pytest.raises(InvalidKeyError):
            place.preflight(Entry(key="way", kind="link", posix=Posix(target=target)))
    place.preflight(Entry(key="a/way", kind="link", posix=Posix(target="../x")))
    free = connect(replace(location, options={**location.options, "links": "any"}))
    free.put(Entry(key="way", kind="link", posix=Posix(target="/etc")), BytesStream())
    free.close()
    assert os.readlink(folder / "way") == "/etc"


def test_a_link_can_be_replaced(place, folder):
    link = Entry(key="way", kind="link", posix=Posix(target="a"))
    place.put(link, BytesStream())
    assert place.put(replace(link, posix=Posix(target="b")), BytesStream(), replace=True).posix.target == "b"
    assert [path.name for path in folder.iterdir() if path.name != PARTIAL_FOLDER] == ["way"]


def test_special_files_are_listed_and_not_read(place, folder):
    os.mkfifo(folder / "pipe")
    (entry,) = place.list()
    assert (entry.kind, entry.host) == ("other", {"special": "fifo"})
    with pytest.raises(ConnectorError):
        place.open(entry)


def test_names_that_are_not_utf8_are_kept_byte_by_byte(place, folder):
    name = b"lettre-\xe9t\xe9.pdf"
    put(place, key_text(b"dossier-\xff/" + name), b"x")
    assert (folder / os.fsdecode(b"dossier-\xff") / os.fsdecode(name)).read_bytes() == b"x"
    assert keys(place) == [key_text(b"dossier-\xff/" + name)]


def test_a_large_file_goes_and_comes_back_the_same(place, folder):
    data = os.urandom(1 << 20) * 64
    entry = put(place, "big", data)
    assert (folder / "big").read_bytes() == data
    assert drain(place.open(entry), -1) == data
    assert drain(place.open(entry, 12_345_678, 45_678_901), 99_999) == data[12_345_678:45_678_901]


def test_many_channels_work_at_once(location):
    def work(number):
        place = connect(location)
        try:
            data = pattern(50_000, number)
            entries = [put(place, f"{number}/{turn}", data) for turn in range(10)]
            return all(content(place, entry) == data for entry in entries)
        finally:
            place.close()

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(work, range(20)))
    place = connect(location)
    assert len(keys(place)) == 200
    place.close()


def test_a_file_that_shrinks_or_is_written_to_while_it_is_read_is_an_error(place, folder):
    for change in (lambda path: os.truncate(path, 5 << 20), lambda path: os.utime(path, (1, 1))):
        stream = place.open(put(place, "a", pattern(20 << 20)))
        stream.read(10)
        change(folder / "a")
        with pytest.raises(ChangedError) as caught:
            drain(stream)
        assert caught.value.key == "a"
        place.delete("a")


def test_a_file_that_changed_since_the_listing_is_an_error_at_open(place, folder):
    entry = put(place, "a", b"123")
    (folder / "a").write_bytes(b"1234")
    with pytest.raises(ChangedError):
        place.open(entry)


def test_the_root_may_be_named_from_home(sshd, location, folder):
    home = os.path.expanduser("~")
    relative = os.path.relpath(folder, home)
    again = connect(replace(location, path=f"/~/{relative}"))
    put(again, "a", b"1")
    again.close()
    assert (folder / "a").read_bytes() == b"1"


def test_prepare_makes_a_deep_root_and_free_speaks_before_that(location):
    deep = connect(replace(location, path=f"{location.path}/x/y/z"))
    assert deep.free() > 0
    with pytest.raises(NotFoundError):
        list(deep.list())
    deep.prepare()
    assert list(deep.list()) == []
    deep.close()


class Relay:
    """A port that passes everything on to a server until it is cut."""

    def __init__(self, port):
        self._target = port
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            other = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [one, other]
            for pair in ((one, other), (other, one)):
                self._threads.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                self._threads[-1].start()

    def _pass(self, one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass

    def cut(self):
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def relay(sshd, tmp_path):
    made = Relay(sshd.port)
    yield made
    made.close()


@pytest.fixture
def relayed(sshd, location, relay, tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{relay.port} "))
    return replace(location, port=relay.port, options={"known_hosts": str(known)})


def test_a_connection_that_dies_in_a_put_shows_nothing_and_prepare_tidies(relayed, relay, folder):
    class Cutting(BytesStream):
        def read(self, size=-1, /):
            piece = super().read(size)
            if self._at > 5 << 20:
                relay.cut()
            return piece

    place = connect(relayed)
    with pytest.raises(UnavailableError) as caught:
        place.put(Entry(key="d/a", size=20 << 20), Cutting(pattern(20 << 20)))
    assert caught.value.retryable
    assert [path.name for path in folder.iterdir()] == [PARTIAL_FOLDER]
    assert keys(place) == []  # the same instance connects anew
    place.prepare()
    assert list(folder.iterdir()) == []
    assert put(place, "d/a", b"1").size == 1
    place.close()


def test_a_connection_that_dies_while_reading_or_listing_is_unavailable(relayed, relay):
    place = connect(relayed)
    for number in range(12):
        put(place, f"{number}/a", b"1")
    entry = put(place, "big", pattern(20 << 20))
    stream = place.open(entry)
    stream.read(10)
    relay.cut()
    with pytest.raises(UnavailableError) as caught:
        drain(stream)
    assert caught.value.key == "big"
    listing = place.list()
    next(listing)
    relay.cut()
    with pytest.raises(UnavailableError):
        list(listing)
    place.close()


def test_a_silent_server_is_unavailable_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(UnavailableError):
            connect(Location(scheme="sftp", host="127.0.0.1", port=port, path="/", options={"timeout": "0.3"}))
    with pytest.raises(UnavailableError, match=f"port {port}"):
        connect(Location(scheme="sftp", host="127.0.0.1", port=port, path="/"))


def test_wrong_options_are_refused_by_name():
    for options in ({"timeout": "soon"}, {"timeout": "0"}, {"connections": "0"}, {"knwon_hosts": "x"}):
        with pytest.raises(LocationError, match=next(iter(options))):
            connect(Location(scheme="sftp", host="127.0.0.1", path="/", options=options))


class OddServer(paramiko.SFTPServerInterface):
    """A small server that reads short, leaves the attributes out of listings and denies one folder."""

    things: ClassVar = {"a": bytes(range(256)) * 1000, "b": b"b"}

    def list_folder(self, path):
        if path == "/all/closed":
            return paramiko.SFTP_PERMISSION_DENIED
        bare = []
        for name in [*self.things, "closed"] if path == "/all" else self.things:
            bare.append(paramiko.SFTPAttributes())
            bare[-1].filename = name
        return bare

    def lstat(self, path):
        found = paramiko.SFTPAttributes()
        name = path.rpartition("/")[2]
        if name in self.things:
            found.st_mode, found.st_size = 0o100644, len(self.things[name])
        elif name in {"root", "all", "closed"}:
            found.st_mode, found.st_size = 0o040755, 0
        else:
            return paramiko.SFTP_NO_SUCH_FILE
        found.st_atime = found.st_mtime = 1_000_000_000
        return found

    stat = lstat

    def open(self, path, flags, attributes):
        data, status = self.things[path.rpartition("/")[2]], self.lstat(path)

        class Handle(paramiko.SFTPHandle):
            def read(self, offset, length):
                return data[offset : offset + min(length, 5000)] or paramiko.SFTP_EOF

            def stat(self):
                return status

        return Handle(flags)


class Anyone(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        return paramiko.AUTH_SUCCESSFUL if password == "odd-password" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


@pytest.fixture
def odd(tmp_path, monkeypatch):
    monkeypatch.setenv("ODD_PASSWORD", "odd-password")
    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    transports = []

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            transports.append(paramiko.Transport(sock))
            transports[-1].set_log_channel("connectors.sftp.transport")
            transports[-1].add_server_key(key)
            transports[-1].set_subsystem_handler("sftp", paramiko.SFTPServer, OddServer)
            transports[-1].start_server(server=Anyone(), event=threading.Event())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Location(
        scheme="sftp",
        host="127.0.0.1",
        port=port,
        user="odd",
        path="/root",
        options={"known_hosts": str(tmp_path / "known")},
        credentials="env:ODD",
    )
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    for transport in transports:
        transport.close()
        transport.join(10)


def test_short_reads_and_listings_without_attributes_are_made_good(odd):
    place = connect(odd)
    found = {entry.key: entry for entry in place.list()}
    assert {key: entry.size for key, entry in found.items()} == {"a": 256_000, "b": 1}
    assert content(place, found["a"]) == OddServer.things["a"]
    assert content(place, found["a"], 1234, 99_999) == OddServer.things["a"][1234:99_999]
    assert place.free() is None
    place.close()


def test_a_folder_that_cannot_be_read_is_an_error_and_never_empty(odd):
    place = connect(replace(odd, path="/all"))
    with pytest.raises(PermissionDeniedError) as caught:
        list(place.list())
    assert caught.value.key == "closed/"
    place.close()


def test_connections_are_shared_and_end_with_their_last_user(location):
    location = replace(location, options={**location.options, "transport": "paramiko"})
    first, second = connect(location), connect(location)
    (pool,) = [pool for key, pool in session._pools.items() if key[2] == location.port and pool.connections]
    assert [one.users for one in pool.connections] == [2]
    transport = pool.connections[0].transport
    assert "gcm" in transport.remote_cipher
    first.close()
    assert transport.is_active()
    second.close()
    assert not transport.is_active()
    assert pool.connections == []
