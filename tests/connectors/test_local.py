"""The local file system host: the contract, and what only a file system can do wrong."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.entry import Entry, Posix
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ConnectorError,
    CorruptedError,
    FullError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import PARTIAL_FOLDER, key_text
from connectors.local import Local, bulk, connect, system
from connectors.local.names import link_problem, name_problem
from connectors.location import Location
from connectors.streams import BytesStream
from connectors.testing.base import content, drain, keys, listed, pattern
from connectors.testing.bulk import in_bulk
from connectors.testing.contract import ConnectorContract
from connectors.testing.faults import Watched

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="a thing that only POSIX systems have")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="a thing that only Linux has")


def partials(root: Path) -> list[str]:
    folder = root / PARTIAL_FOLDER
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestLocal(ConnectorContract):
    @pytest.fixture
    def location(self, root: Path) -> Location:
        return Location(scheme="file", path=str(root))

    def residue(self, location: Location) -> Collection[str]:
        return partials(Path(location.path))


class TestLocalWithAnyLink(TestLocal):
    """Links out of the root are made; nothing may go through them all the same."""

    @pytest.fixture
    def location(self, root: Path) -> Location:
        return Location(scheme="file", path=str(root), options={"links": "any"})


class TestLocalWithoutHandles(TestLocal):
    """The way of systems that cannot work relative to an open folder."""

    @pytest.fixture(autouse=True)
    def _no_handles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "HANDLES", False)


@posix_only
class TestLocalWithoutHardLinks(TestLocal):
    """A file system that refuses hard links, as FAT and some network mounts do."""

    @pytest.fixture(autouse=True)
    def _no_hard_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)


class InBulk:
    """The clauses on reading and writing over the bulk lane, wherever it takes a file."""

    def open_place(self, location: Location) -> Any:
        place = in_bulk(connect(location))
        assert place.bulk_bytes, "there is no lane to test"
        return place


for _name in dir(ConnectorContract):
    if _name.startswith("test_") and _name[5:7] not in {"03", "04", "05", "06", "07", "08", "10", "11", "14", "15"}:
        setattr(InBulk, _name, None)  # the lane has no part in it


class TestLocalInBulk(InBulk, TestLocal):
    pass


class TestLocalWithoutHandlesInBulk(InBulk, TestLocalWithoutHandles):
    pass


@posix_only
class TestLocalWithoutHardLinksInBulk(InBulk, TestLocalWithoutHardLinks):
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


@pytest.fixture
def place(root: Path) -> Iterator[Local]:
    opened = open_place(root)
    yield opened
    opened.close()


def open_place(root: Path, **options: str) -> Local:
    return connect(Location(scheme="file", path=str(root), options=options))


def store(place: Any, key: str, data: bytes, **attributes: Any) -> Entry:
    stored: Entry = place.put(Entry(key=key, size=len(data), **attributes), BytesStream(data))
    return stored


def put_thing(place: Local, key: str, kind: Any, *, replace: bool = False, **posix: Any) -> Entry:
    return place.put(Entry(key=key, kind=kind, posix=Posix(**posix)), BytesStream(), replace=replace)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Rights count for nothing while root asks."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# Locations


def test_an_option_that_is_not_known_is_refused(root: Path) -> None:
    for options in ({"colour": "blue"}, {"owner": "mine"}, {"links": ""}):
        with pytest.raises(LocationError):
            open_place(root, **options)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(LocationError):
        connect(Location(scheme="file", path="here"))


def test_a_root_that_is_a_file_is_not_found_and_says_so(root: Path) -> None:
    (root / "file").write_bytes(b"x")
    with pytest.raises(NotFoundError, match="not a folder"):
        list(open_place(root / "file").list())


def test_a_root_that_is_a_link_is_followed(root: Path, tmp_path: Path) -> None:
    store(open_place(root), "a", b"x")
    (tmp_path / "way").symlink_to(root)
    assert keys(open_place(tmp_path / "way")) == ["a"]


def test_prepare_makes_the_folders_above_the_root(tmp_path: Path) -> None:
    place = open_place(tmp_path / "not" / "yet")
    assert place.free() is not None
    place.prepare()
    assert keys(place) == []


# Listing


@linux_only
def test_odd_bytes_in_names_are_exact_in_both_directions(root: Path, place: Local) -> None:
    name = b"lettre-\xe9t\xe9\xff.pdf"
    with open(os.fsencode(root) + b"/" + name, "wb") as file:
        file.write(b"x")
    assert keys(place) == [key_text(name)]
    store(place, key_text(b"dossier-\xe8/" + name), b"y")
    assert os.listdir(os.fsencode(root) + b"/dossier-\xe8") == [name]


def test_listing_is_in_the_order_of_the_bytes_of_the_keys(place: Local) -> None:
    wanted = ["a", "a b", "a-b", "a/b", "a0", "z", "\u00e9", "\uffee", "\U0001f9b7"]
    wanted = [*(key for key in wanted if key != "a"), "a/a"]
    for key in wanted:
        store(place, key, b"")
    assert [entry.key for entry in place.list()] == sorted(wanted, key=str.encode)


@posix_only
def test_a_thing_is_listed_with_its_posix_attributes(root: Path, place: Local) -> None:
    path = root / "a"
    path.write_bytes(b"123")
    path.chmod(0o4640)
    os.utime(path, ns=(0, 1_551_675_968_123_456_789))
    entry = listed(place, "a")
    assert entry == place.stat("a")
    assert entry.modified == datetime(2019, 3, 4, 5, 6, 8, 123456, tzinfo=UTC)
    assert entry.posix is not None
    assert (entry.posix.mode, entry.posix.mtime_ns) == (0o4640, 1_551_675_968_123_456_789)
    assert (entry.posix.uid, entry.posix.gid) == (path.stat().st_uid, path.stat().st_gid)
    assert (entry.posix.user, entry.posix.group) == (path.owner(), path.group())


@posix_only
def test_a_time_that_is_no_date_is_told_in_nanoseconds_only(root: Path, place: Local) -> None:
    (root / "a").write_bytes(b"")
    try:
        os.utime(root / "a", ns=(0, 4_000_000_000_000_000_000 * 4))
    except OverflowError:
        pytest.skip("this system cannot set such a time")
    entry = listed(place, "a")
    assert entry.posix is not None
    assert entry.posix.mtime_ns == (root / "a").stat().st_mtime_ns


@posix_only
def test_later_names_of_one_file_point_to_the_first(root: Path, place: Local) -> None:
    (root / "b").mkdir()
    (root / "b" / "one").write_bytes(b"x")
    for name in ("c", "a", "d"):
        os.link(root / "b" / "one", root / name)
    os.unlink(root / "d")
    found = {entry.key: entry.posix.hardlink_to for entry in place.list() if entry.posix}
    assert found == {"a": None, "b/one": "a", "c": "a"}


@linux_only
def test_a_file_with_holes_is_sparse_and_is_put_back_with_holes(root: Path, tmp_path: Path, place: Local) -> None:
    with open(root / "a", "wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"end")
        file.truncate(12 << 20)
    entry = listed(place, "a")
    assert entry.posix is not None
    assert entry.posix.sparse
    other = open_place(tmp_path / "other")
    other.prepare()
    copied = other.put(entry, place.open(entry))
    assert copied.posix is not None
    assert copied.posix.sparse
    assert (tmp_path / "other" / "a").stat().st_blocks * 512 < 1 << 20
    assert content(other, copied) == content(place, entry)


@linux_only
def test_extended_attributes_and_access_lists_are_kept(root: Path, place: Local) -> None:
    (root / "a").write_bytes(b"x")
    # version 2; owner rw, user 12345 r, group r, mask r, others nothing
    access = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, mode, who in [(1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    )
    wanted = {"user.origin": b"scanner\0\xff", "user.empty": b""}
    try:
        for name, value in wanted.items():
            os.setxattr(root / "a", name, value)
    except OSError as error:
        pytest.skip(f"this file system keeps no extended attributes: {error}")
    try:
        os.setxattr(root / "a", "system.posix_acl_access", access)
        wanted["system.posix_acl_access"] = access
    except OSError:
        pass  # a file system without access lists
    entry = listed(place, "a")
    assert entry.posix is not None
    assert entry.posix.xattrs == wanted
    copied = place.put(replace(entry, key="copy", posix=replace(entry.posix, mode=0o440)), place.open(entry))
    assert copied.posix is not None
    assert (copied.posix.xattrs.keys(), copied.posix.mode) == (wanted.keys(), 0o440)
    assert copied.posix.xattrs["user.origin"] == wanted["user.origin"]


@posix_only
def test_links_are_told_and_never_followed(root: Path, tmp_path: Path, place: Local) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "broken").symlink_to("nowhere\n")
    found = {entry.key: (entry.kind, entry.posix.target) for entry in place.list() if entry.posix}
    assert found == {"folder": ("link", str(tmp_path / "outside")), "broken": ("link", "nowhere\n")}
    assert keys(place, "folder/") == []
    for key in ("folder", "folder/secret"):
        with pytest.raises(InvalidKeyError):
            place.open(Entry(key=key))


@posix_only
def test_special_files_are_other_and_have_no_bytes(root: Path, place: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert {entry.key: (entry.kind, entry.host) for entry in place.list()} == {
            "pipe": ("other", {"special": "fifo"}),
            "socket": ("other", {"special": "socket"}),
        }
        for key in ("pipe", "socket"):
            with pytest.raises(UnsupportedError):
                place.open(place.stat(key))


def test_only_an_empty_folder_is_a_thing(root: Path, place: Local) -> None:
    (root / "full" / "empty").mkdir(parents=True)
    assert [(entry.key, entry.kind, entry.size) for entry in place.list()] == [("full/empty", "directory", None)]
    assert place.stat("full/empty") == listed(place, "full/empty")
    with pytest.raises(NotFoundError):
        place.stat("full")
    with pytest.raises(UnsupportedError):
        place.open(place.stat("full/empty"))


@posix_only
def test_a_folder_that_cannot_be_read_is_an_error_and_never_empty(root: Path, place: Local) -> None:
    for above in (root, *root.parents):  # pytest's own folders are closed to others
        if Path(tempfile.gettempdir()) in above.parents and above.stat().st_uid == os.geteuid():
            above.chmod(0o755)
    store(place, "a/closed/x", b"x")
    store(place, "b", b"x")
    (root / "a" / "closed").chmod(0)
    (root / "b").chmod(0)
    try:
        with as_ordinary_user():
            with pytest.raises(PermissionDeniedError) as caught:
                list(place.list())
            assert caught.value.key == "a/closed"
            assert str(root) not in (caught.value.cause or "")
            with pytest.raises(PermissionDeniedError):
                place.open(Entry(key="b"))
            with pytest.raises(PermissionDeniedError):
                store(place, "new", b"x")
    finally:
        (root / "a" / "closed").chmod(0o755)


def test_the_folder_of_unfinished_files_is_hidden_at_the_root_only(root: Path, place: Local) -> None:
    (root / PARTIAL_FOLDER).mkdir()
    (root / PARTIAL_FOLDER / "x").write_bytes(b"x")
    store(place, f"a/{PARTIAL_FOLDER}/x", b"x")
    assert keys(place) == [f"a/{PARTIAL_FOLDER}/x"]
    assert keys(place, PARTIAL_FOLDER) == []
    assert keys(place, f"{PARTIAL_FOLDER}/") == []


@posix_only
def test_a_listing_that_is_abandoned_leaves_no_handle_open(place: Local) -> None:
    store(place, "a/b/c/d", b"x")
    store(place, "a/b/c/e", b"x")
    before = len(os.listdir("/dev/fd"))
    listing = place.list()
    next(listing)
    assert len(os.listdir("/dev/fd")) > before
    listing.close()
    assert len(os.listdir("/dev/fd")) == before


# Reading


def test_a_file_that_changed_since_it_was_listed_is_told(root: Path, place: Local) -> None:
    entry = store(place, "a", b"123")
    (root / "a").write_bytes(b"1234")
    with pytest.raises(ChangedError):
        place.open(entry)
    (root / "a").write_bytes(b"321")
    os.utime(root / "a", ns=(5, 5))
    with pytest.raises(ChangedError):
        place.open(entry)


@pytest.mark.parametrize("change", ["grown", "cut", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_told(root: Path, place: Local, change: str) -> None:
    entry = store(place, "a", pattern(100_000))
    stream = place.open(entry)
    stream.read(1000)
    with open(root / "a", "r+b") as file:
        if change == "cut":
            file.truncate(500)
        else:
            file.seek(0, os.SEEK_END if change == "grown" else os.SEEK_SET)
            file.write(b"x")
    os.utime(root / "a", ns=(5, 5))
    with pytest.raises(ChangedError) as caught:
        drain(stream)
    assert (caught.value.host, caught.value.key) == (place.uri, "a")


@posix_only
def test_a_folder_that_becomes_a_link_does_not_lead_outside(root: Path, tmp_path: Path, place: Local) -> None:
    entry = store(place, "a/b/c", b"mine")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c").write_bytes(b"evil")
    (root / "a" / "b").rename(tmp_path / "away")
    (root / "a" / "b").symlink_to(tmp_path / "outside")
    for refused in (
        lambda: place.open(replace(entry, posix=None)),
        lambda: place.stat("a/b/c"),
        lambda: place.delete("a/b/c"),
        lambda: place.put(Entry(key="a/b/c", size=1), BytesStream(b"x"), replace=True),
        lambda: store(place, "a/b/new", b"x"),
        lambda: put_thing(place, "a/b/made", "directory"),
        lambda: put_thing(place, "a/b/way", "link", target="c"),
    ):
        with pytest.raises(InvalidKeyError):
            refused()
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "outside").iterdir()] == [("c", b"evil")]
    assert partials(root) == []


@posix_only
def test_a_folder_swapped_for_a_link_while_the_body_is_read_gets_nothing(
    root: Path, tmp_path: Path, place: Local
) -> None:
    store(place, "a/b", b"x")
    (tmp_path / "outside").mkdir()

    def swap() -> None:
        if not (root / "a").is_symlink():
            (root / "a").rename(root / "moved")
            (root / "a").symlink_to(tmp_path / "outside")

    with pytest.raises(InvalidKeyError):
        place.put(Entry(key="a/c", size=10), Watched(BytesStream(b"0123456789"), swap))
    assert list((tmp_path / "outside").iterdir()) == []
    assert partials(root) == []


# Writing


@posix_only
def test_without_a_mode_the_umask_decides(root: Path, place: Local) -> None:
    before = os.umask(0o027)
    try:
        store(place, "folder/a", b"x")
    finally:
        os.umask(before)
    assert (root / "folder" / "a").stat().st_mode & 0o777 == 0o640
    assert (root / "folder").stat().st_mode & 0o777 == 0o750


@posix_only
def test_a_set_id_bit_is_not_given_to_another_owner(place: Local) -> None:
    mine = store(place, "mine", b"x", posix=Posix(mode=0o6755, uid=os.geteuid(), gid=os.getegid()))
    foreign = store(place, "foreign", b"x", posix=Posix(mode=0o6755, uid=12345, gid=12345))
    assert mine.posix is not None
    assert foreign.posix is not None
    assert (mine.posix.mode, foreign.posix.mode) == (0o6755, 0o755)


@posix_only
def test_the_owner_is_kept_where_that_is_asked_and_allowed(root: Path) -> None:
    wanted = Posix(mode=0o640, uid=12345, gid=23456)
    left = store(open_place(root), "left", b"x", posix=wanted)
    assert left.posix is not None
    assert left.posix.uid == os.geteuid()
    kept = store(open_place(root, owner="keep"), "kept", b"x", posix=wanted)
    assert kept.posix is not None
    assert (kept.posix.uid, kept.posix.gid) == ((12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid()))
    assert kept.posix.mode == 0o640


@posix_only
@pytest.mark.parametrize(
    "odd", [{"uid": 1 << 40, "gid": 0}, {"uid": -5, "gid": -5}, {"mode": 1 << 40}, {"xattrs": {"user.\0": b"x"}}]
)
def test_attributes_that_no_system_has_are_left_out(root: Path, odd: dict[str, Any]) -> None:
    place = open_place(root, owner="keep")
    wanted = Entry(key="bulk", size=1, posix=Posix(**odd))
    [(_, bulk)] = place.put_many([(wanted, b"x")], 1)
    assert isinstance(bulk, Entry)
    assert bulk == place.stat("bulk")
    link = put_thing(place, "link", "link", target="bulk", **odd)
    assert link == place.stat("link")


@posix_only
def test_links_and_empty_folders_keep_their_time_and_mode(place: Local) -> None:
    made = put_thing(place, "a/folder", "directory", mode=0o700, mtime_ns=5_000_000_007)
    link = put_thing(place, "a/link", "link", target="folder", mtime_ns=6_000_000_007)
    assert made.posix is not None
    assert link.posix is not None
    assert (made.posix.mode, made.posix.mtime_ns) == (0o700, 5_000_000_007)
    assert (link.posix.target, link.posix.mtime_ns) == ("folder", 6_000_000_007)
    assert [place.stat("a/folder"), place.stat("a/link")] == [made, link]


@posix_only
def test_any_kind_replaces_any_other_only_when_asked_but_never_a_full_folder(root: Path, place: Local) -> None:
    def put(kind: str, *, replace: bool) -> Entry:
        if kind == "object":
            return place.put(Entry(key="a", size=1), BytesStream(b"x"), replace=replace)
        return put_thing(place, "a", kind, replace=replace, target="b")

    put("object", replace=False)
    for kind in ("link", "directory", "object", "object", "directory", "directory", "link", "link", "object"):
        before = place.stat("a")
        with pytest.raises(AlreadyExistsError):
            put(kind, replace=False)
        assert place.stat("a") == before
        assert put(kind, replace=True).kind == kind
        assert partials(root) == []
    place.delete("a")
    store(place, "a/b", b"x")
    for kind in ("link", "directory", "object"):
        with pytest.raises(AlreadyExistsError):
            put(kind, replace=True)
    assert keys(place) == ["a/b"]


def test_a_file_where_a_folder_is_needed_is_told_before_the_body_is_read(place: Local) -> None:
    store(place, "a", b"x")
    body = Watched(BytesStream(b"x"), lambda: pytest.fail("the body was read"))
    with pytest.raises(AlreadyExistsError, match="folder"):
        place.put(Entry(key="a/b", size=1), body)
    with pytest.raises(AlreadyExistsError):
        place.put(Entry(key="a", size=1), body)


def test_put_into_a_place_that_is_not_there_makes_no_place(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mounted"):
        store(open_place(tmp_path / "unmounted"), "a", b"x")
    assert not (tmp_path / "unmounted").exists()


@posix_only
def test_a_lock_that_is_taken_where_links_are_refused_is_worth_asking_again(
    root: Path, place: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(system, "_PATIENCE", 2)
    monkeypatch.setattr("connectors.local.system._lock_name", lambda key: "held")
    (root / PARTIAL_FOLDER).mkdir()
    (root / PARTIAL_FOLDER / "held").write_bytes(b"")
    with pytest.raises(UnavailableError):
        store(place, "a", b"x")
    place.prepare()
    store(place, "a", b"x")


def test_two_that_prepare_and_close_while_others_put_disturb_nobody(root: Path) -> None:
    for turn in range(50):
        idle, busy = open_place(root), open_place(root)
        busy.put(Entry(key=f"{turn}", size=1), Watched(BytesStream(b"x"), idle.close))
        busy.close()
    assert len(keys(open_place(root))) == 50
    assert not (root / PARTIAL_FOLDER).exists()


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        place = open_place(small)
        assert place.free() is not None
        with pytest.raises(FullError) as caught:
            store(place, "a/b", pattern(2 << 20))
        assert (caught.value.key, caught.value.retryable) == ("a/b", False)
        assert keys(place) == []
        assert partials(small) == []
        store(place, "a/b", b"small enough")
    finally:
        subprocess.run(["umount", small], check=True)


def run(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    text = textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE, text=True, **options)


@linux_only
def test_names_are_exact_also_where_the_locale_is_not_utf_8(root: Path) -> None:
    child = run(
        r"""
        import sys
        from connectors.entry import Entry
        from connectors.keys import key_text
        from connectors.local import connect
        from connectors.location import Location
        from connectors.streams import BytesStream
        assert sys.getfilesystemencoding() != "utf-8"
        place = connect(Location(scheme="file", path=sys.argv[1]))
        wanted = sorted(["\u00e9t\u00e9/\U0001f9b7", key_text(b"\xe9t\xe9")])
        for key in wanted:
            place.put(Entry(key=key, size=1), BytesStream(b"x"))
        assert sorted(entry.key for entry in place.list()) == wanted
        assert [entry.key for entry in place.list("\u00e9t")] == wanted[:1]
        place.close()
        """,
        str(root),
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    )
    child.communicate(timeout=30)
    assert child.returncode == 0
    assert sorted(os.listdir(os.fsencode(root))) == ["\u00e9t\u00e9".encode(), b"\xe9t\xe9"]


@posix_only
def test_a_file_larger_than_the_process_may_write_is_told_and_leaves_nothing(root: Path) -> None:
    child = run(
        """
        import resource, sys
        from connectors.entry import Entry
        from connectors.errors import FullError
        from connectors.local import connect
        from connectors.location import Location
        from connectors.streams import BytesStream
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        place = connect(Location(scheme="file", path=sys.argv[1]))
        try:
            place.put(Entry(key="a", size=2 << 20), BytesStream(bytes(2 << 20)))
        except FullError as error:
            print(error.cause)
        """,
        str(root),
    )
    said, _ = child.communicate(timeout=30)
    assert (child.returncode, said.partition(":")[0]) == (0, "EFBIG")
    assert list(open_place(root).list()) == []
    assert partials(root) == []


@posix_only
def test_a_process_killed_in_the_middle_of_a_put_leaves_nothing_visible(root: Path) -> None:
    child = run(
        """
        import sys, time
        from connectors.entry import Entry
        from connectors.local import connect
        from connectors.location import Location

        class Endless:
            def read(self, size=-1):
                print("read", flush=True)
                return b"x" * size
            def close(self):
                pass

        connect(Location(scheme="file", path=sys.argv[1])).put(Entry(key="a/b"), Endless())
        """,
        str(root),
    )
    assert child.stdout is not None
    for _ in range(3):
        assert child.stdout.readline() == "read\n"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    place = open_place(root)
    assert keys(place) == []
    assert len(partials(root)) == 1
    place.close()
    assert len(partials(root)) == 1  # another run may be at work on it; only prepare may judge
    place.prepare()
    assert list(root.iterdir()) == []


# The bulk lane


def test_reading_in_bulk_declines_what_is_not_the_listed_file(root: Path, place: Local) -> None:
    for name in ("good", "grown", "touched", "gone", "linked"):
        (root / name).write_bytes(b"12345")
    entries = [*place.list()]
    (root / "grown").write_bytes(b"123456")
    os.utime(root / "touched", ns=(1, 1))
    (root / "gone").unlink()
    (root / "linked").unlink()
    (root / "linked").symlink_to("good")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe")
        entries.append(Entry(key="pipe", size=5))
    entries += [Entry(key="../good", size=5), Entry(key="absent/good", size=5), Entry(key="good/below", size=5)]
    found = dict(place.read_many(entries, 2))
    assert sorted(found) == [*range(len(entries))]
    assert [entries[number].key for number, read in found.items() if read is not None] == ["good"]


@posix_only
@pytest.mark.parametrize("handles", [True, False])
def test_a_link_that_replaces_a_folder_between_two_bulk_reads_is_not_followed(
    root: Path, place: Local, monkeypatch: pytest.MonkeyPatch, handles: bool
) -> None:
    monkeypatch.setattr(system, "HANDLES", handles)
    entries = [store(place, f"folder/{name}", b"ours") for name in "ab"]
    reads = place.read_many(entries, 1)
    assert next(reads)[1] is not None
    (root / "folder").rename(root / "moved")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "b").write_bytes(b"evil")
    os.utime(root / "elsewhere" / "b", ns=(0, (root / "moved" / "b").stat().st_mtime_ns))
    (root / "folder").symlink_to("elsewhere")
    _, read = next(reads)
    assert read is None or (not isinstance(read, ConnectorError) and read.body == b"ours")


def test_putting_in_bulk_makes_names_durable_before_it_tells_of_them(
    root: Path, place: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    file, folder, named = bulk.Partial.complete, bulk.Folder.sync, bulk.give_name
    monkeypatch.setattr(bulk.Partial, "complete", lambda *a, **b: (done.append("file"), file(*a, **b))[1])
    monkeypatch.setattr(bulk.Folder, "sync", lambda self: (done.append(Path(self.path).name), folder(self))[1])
    monkeypatch.setattr(bulk, "give_name", lambda *a, **b: (done.append("name"), named(*a, **b))[1])
    for _, stored in place.put_many([(Entry(key=f"a/{n % 2}/{n}", size=1), b"1") for n in range(6)], 2):
        assert stored is not None
        done.append("told")
    assert [step for step in done if step in {"file", "name"}] == ["file", "name"] * 6
    assert done[-8:] == ["0", "1", *["told"] * 6]


def test_putting_in_bulk_that_is_given_up_or_fails_leaves_nothing(root: Path, place: Local) -> None:
    def some() -> Iterator[tuple[Entry, bytes]]:
        for number in range(40):
            yield Entry(key=f"{number:02}", size=1), b"1"
        raise ValueError("of the reader")

    given_up = place.put_many(some(), 2)
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]  # it is a generator, which the protocol does not say
    assert partials(root) == []
    with pytest.raises(ValueError, match="of the reader"):
        [*place.put_many(some(), 2)]
    assert partials(root) == []
    assert len(keys(place)) == 32  # what had been told of, and nothing that had not


@posix_only
def test_a_process_killed_anywhere_in_bulk_leaves_whole_files_only(root: Path) -> None:
    program = """
        import os, signal, sys
        from connectors.entry import Entry
        from connectors.local import connect
        from connectors.location import Location

        left = int(sys.argv[2])

        def step(event, arguments):
            global left
            if event in {"os.link", "os.remove", "os.utime"} or (event == "open" and "portability-partial" in str(arguments[0])):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        place = connect(Location(scheme="file", path=sys.argv[1]))
        sys.addaudithook(step)
        items = [(Entry(key=str(n), size=3), b"abc") for n in range(3)]
        for _ in place.put_many(iter(items), 2):
            pass
        """
    killed = 0
    for point in range(1, 8):
        child = run(program, str(root), str(point))
        child.communicate(timeout=30)
        killed += child.returncode == -signal.SIGKILL
        place = open_place(root)
        assert all((root / key).read_bytes() == b"abc" for key in keys(place))
        place.prepare()
        assert partials(root) == []
        for key in keys(place):
            place.delete(key)
    assert killed >= 5


# Parts


def test_a_token_is_no_path(root: Path, place: Local) -> None:
    entry = Entry(key="a", size=1)
    (root / "x").write_bytes(b"x")
    for token in ("../x", "", "/etc/passwd", "a" * 31, "A" * 32, f"{'a' * 32}\n"):
        with pytest.raises(NotFoundError):
            place.put_part(entry, token, 1, BytesStream(b"x"), 1)
        with pytest.raises(NotFoundError):
            place.finish(entry, token, ["1"])
        place.abort(entry, token)
    assert keys(place) == ["x"]


def test_parts_are_never_too_many_and_of_whole_mebibytes(place: Local) -> None:
    assert place.part_size(0) == place.part_size(1 << 30) == 16 << 20
    for size in (10**12, 5 * 10**12 + 1):
        part = place.part_size(size)
        assert part % (1 << 20) == 0
        assert -(-size // part) <= 10_000


def test_a_part_that_is_not_in_the_object_is_refused(place: Local) -> None:
    entry = Entry(key="a", size=5)
    token = place.begin(entry)
    for number, size in ((0, 5), (2, 5), (1, 4), (-1, 5)):
        with pytest.raises(CorruptedError):
            place.put_part(entry, token, number, BytesStream(bytes(size)), size)
    place.abort(entry, token)
    with pytest.raises(UnsupportedError):
        place.begin(Entry(key="a"))


@linux_only
def test_parts_keep_holes_and_what_was_sent_again_wins(root: Path, place: Local) -> None:
    part = place.part_size(1)
    entry = Entry(key="a", size=2 * part, posix=Posix(mode=0o600, sparse=True))
    token = place.begin(entry)
    place.put_part(entry, token, 1, BytesStream(pattern(part)), part)
    done = [place.put_part(entry, token, number, BytesStream(bytes(part)), part) for number in (1, 2)]
    finished = place.finish(entry, token, done)
    assert finished.posix is not None
    assert finished.posix.sparse
    assert content(place, finished) == bytes(2 * part)


# Names


def test_names_that_windows_and_macos_cannot_hold_are_refused_there() -> None:
    for key in ("a:b", "CON", "aux.txt", "a/com1 .x", "dot.", "space /x", "tab\t", "back\\slash", "C:\\x", "Nul"):
        assert name_problem(key, "win32")
        assert name_problem(key, "linux") is None
    for key in ("console", "a.b", "com10", ".hidden", "\u00e9t\u00e9"):
        assert name_problem(key, "win32") is None
    assert name_problem(key_text(b"\xe9"), "darwin")
    assert name_problem(f"{PARTIAL_FOLDER.upper()}/x", "darwin")
    assert name_problem(f"{PARTIAL_FOLDER.upper()}/x", "linux") is None
    assert name_problem("half \ud83e", "linux")


def test_a_link_leaves_the_root_by_its_text() -> None:
    for key, target in (("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "b/../c"), ("a", "..b")):
        assert link_problem(key, target, anywhere=False) is None
    for key, target in (("a", ".."), ("a/b", "../../c"), ("a", "/etc"), ("a/b", "x/../../../c")):
        assert link_problem(key, target, anywhere=False)
        assert link_problem(key, target, anywhere=True) is None
    for target in (None, "", "a\0b", "x" * 4096):
        assert link_problem("a", target, anywhere=True)


def test_an_error_that_nobody_foresaw_is_still_ours() -> None:
    with pytest.raises(ConnectorError) as caught, system.translated("file:///x", "a"):
        raise OSError("nobody knows")
    assert (caught.value.key, caught.value.retryable) == ("a", False)
