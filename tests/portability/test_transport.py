"""An archive as one file: written alike every time, read in place, unpacked whole or not at all; hostile ones are refused."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import archives
import pytest

from manifests.names import utf16_units
from portability.archive.transport import Form, Limits, PackedTree, pack, packed_form, unpack
from portability.archive.transport_zip import ZipPacker
from portability.archive.verifier_tree import LocalTree
from portability.errors import EvidenceError, PlaceError, UsageError

NAME = "portability-cabinet-exemple-20261121T090500Z-24e51ca2"
FORMS: tuple[Form, ...] = ("tar", "zip")
LONG = ("dossier d'été/" * 15).ljust(240 - len("data/files/"), "x")
CONTENTS = {
    "Résultats/Écho rénale.pdf": b"%PDF-1.7\n",
    "a-b": b"before the folder a/\n",
    "a/b": b"in the folder a/\n",
    "big.bin": bytes(range(256)) * 9000,
    "empty": b"",
    "日本語/名前.txt": b"names\n",
    LONG: b"240 units\n",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archives.build(tmp_path / NAME, CONTENTS, sign_with=archives.key())


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def packed(archive: Path, form: Form, name: str = "archive") -> Path:
    file = archive.parent / f"{name}.{form}"
    pack(LocalTree(archive), archive.name, form, file)
    return file


@pytest.mark.parametrize("form", FORMS)
def test_two_runs_give_equal_bytes(archive: Path, form: Form, tmp_path: Path) -> None:
    one = packed(archive, form)
    copy = tmp_path / "elsewhere" / NAME
    shutil.copytree(archive, copy)
    for path in [*copy.rglob("*"), copy]:
        os.utime(path, (1, 1))
        path.chmod(0o755)
    two = packed(copy, form)
    assert one.read_bytes() == two.read_bytes()
    assert stat.S_IMODE(one.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", FORMS)
def test_what_was_unpacked_equals_the_archive(archive: Path, form: Form, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    folder = unpack(packed(archive, form), tmp_path / "there")
    assert folder == tmp_path / "there" / NAME
    assert content(folder) == content(archive)
    assert max(utf16_units(path) for path in content(folder)) == 240
    assert list((tmp_path / "there").iterdir()) == [folder]
    assert {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]} == {0o600, 0o700}


@pytest.mark.parametrize("form", FORMS)
def test_reading_in_place_shows_the_same_tree(archive: Path, form: Form) -> None:
    local = LocalTree(archive)
    with PackedTree(packed(archive, form)) as tree:
        assert tree.name == NAME
        assert [node.path for node in tree.walk()] == [node.path for node in local.walk()]
        for node in tree.walk():
            with tree.open(node.path) as stream, local.open(node.path) as other:
                assert stream.read() == other.read()
        for absent in ("none", "data", "../data", "", NAME):
            with pytest.raises(FileNotFoundError):
                tree.open(absent)


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_of_lines_only_keeps_its_data_folder(form: Form, tmp_path: Path) -> None:
    archive = archives.build(tmp_path / NAME, [archives.Thing(key="link", data=None, kind="link")])
    (tmp_path / "there").mkdir()
    assert (unpack(packed(archive, form), tmp_path / "there") / "data").is_dir()


def test_tar_members_are_sorted_and_say_nothing_of_their_writer(archive: Path) -> None:
    file = packed(archive, "tar")
    with tarfile.open(file) as tar:
        infos = tar.getmembers()
    stored = [info.name + ("/" if info.isdir() else "") for info in infos]
    assert stored == sorted(stored, key=str.encode)
    assert stored[0] == f"{NAME}/"
    assert {(info.mtime, info.uid, info.gid, info.uname, info.gname) for info in infos} == {(0, 0, 0, "", "")}
    assert {(info.isdir(), info.mode) for info in infos} == {(True, 0o700), (False, 0o600)}
    extended = {info.name for info in infos if info.pax_headers}
    assert extended == {info.name for info in infos if not info.name.isascii() or len(info.name) > 100}
    assert all(set(info.pax_headers) <= {"path"} for info in infos)


def test_zip_members_are_stored_with_the_utf8_flag(archive: Path) -> None:
    with zipfile.ZipFile(packed(archive, "zip")) as file:
        infos = file.infolist()
        assert file.testzip() is None
        stored = [info.filename for info in infos]
        assert stored == sorted(stored, key=str.encode)
        assert {(info.compress_type, info.flag_bits & 0x800) for info in infos} == {(0, 0x800)}
        assert file.read(f"{NAME}/data/files/big.bin") == CONTENTS["big.bin"]


def test_system_programs_unpack_the_same(archive: Path, tmp_path: Path) -> None:
    extractors = {"tar": ["tar", "-xf"], "zip": ["unzip", "-q"]}
    for form in FORMS:
        folder = tmp_path / f"by-{form}"
        folder.mkdir()
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        subprocess.run([*extractors[form], packed(archive, form)], cwd=folder, check=True, env=environment)
        assert content(folder / NAME) == content(archive)


def test_what_system_programs_pack_is_read(archive: Path) -> None:
    tarred, zipped = archive.parent / "by.tar", archive.parent / "by.zip"
    for program, arguments in {"tar": ["-cf", tarred, NAME], "zip": ["-qr", zipped, NAME]}.items():
        subprocess.run([program, *arguments], cwd=archive.parent, check=True)
    for file in (tarred, zipped):
        with PackedTree(file) as tree, tree.open("data/files/big.bin") as stream:
            assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(CONTENTS["big.bin"]).digest()
            assert [node.path for node in tree.walk()] == [node.path for node in LocalTree(archive).walk()]


def test_many_members_need_zip64(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with file.open("wb") as out:
        packer = ZipPacker(out, io.BytesIO())
        packer.folder("top/")
        for number in range(66_000):
            packer.file(f"top/{number:06}", 1, [b"x"])
        packer.finish()
    with zipfile.ZipFile(file) as read:
        assert len(read.namelist()) == 66_001
    with PackedTree(file) as tree:
        assert sum(1 for _ in tree.walk()) == 66_000


def test_members_and_offsets_beyond_4_gib_survive(tmp_path: Path) -> None:
    """The file has a hole where the bytes were, so that the test writes none of them."""

    class Hole(io.FileIO):
        def write(self, data: bytes) -> int:
            return self.seek(len(data), 1) if not any(data[:64]) and len(data) == 1 << 26 else super().write(data)

    file = tmp_path / "large.zip"
    piece, size = bytes(1 << 26), 65 << 26
    with Hole(file, "wb") as out:
        packer = ZipPacker(out, io.BytesIO())  # type: ignore[arg-type]  # a raw file that writes whole pieces
        packer.folder("top/")
        packer.file("top/large", size, (piece for _ in range(65)))
        packer.file("top/last", 4, [b"last"])
        packer.finish()
    with zipfile.ZipFile(file) as read:
        assert [(info.filename, info.file_size) for info in read.infolist()][1:] == [
            ("top/large", size),
            ("top/last", 4),
        ]
        assert read.read("top/last") == b"last"
    with PackedTree(file) as tree, tree.open("last") as stream:
        assert [node.size for node in tree.walk()] == [size, 4]
        assert stream.read() == b"last"


def test_nothing_is_overwritten_and_nothing_left_of_a_failure(archive: Path, tmp_path: Path) -> None:
    file = packed(archive, "tar")
    with pytest.raises(PlaceError, match="exists already"):
        packed(archive, "tar")
    with pytest.raises(PlaceError, match="exists already"):
        unpack(file, tmp_path)
    with pytest.raises(UsageError):
        pack(LocalTree(archive), "../up", "tar", tmp_path / "other.tar")
    (archive / "link").symlink_to("data")
    with pytest.raises(EvidenceError, match="cannot be packed"):
        pack(LocalTree(archive), NAME, "zip", tmp_path / "other.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([NAME, "archive.tar"])


# Hostile transports

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", **more: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), target
    for member, value in more.items():
        setattr(info, member, value)
    return info, data


def tar_of(file: Path, entries: Iterable[Entry], format: int = tarfile.PAX_FORMAT) -> Path:  # noqa: A002 - tarfile's word
    with tarfile.open(file, "w", format=format) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return file


def zip_of(file: Path, entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED, mode: int = 0) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr, info.create_system = method, mode << 16, 3
            archive.writestr(info, data)
    return file


NAMES = {
    "absolute": ("/etc/passwd", "leads elsewhere"),
    "up": ("top/../../etc/passwd", "leads elsewhere"),
    "up at once": ("../top/file", "leads elsewhere"),
    "dot": ("./top/file", "leads elsewhere"),
    "empty segment": ("top//file", "leads elsewhere"),
    "drive": ("C:/file", "leads elsewhere"),
    "backslash": ("top\\..\\..\\file", "leads elsewhere"),
    "line break": ("top/a\nb", "leads elsewhere"),
    "beside the folder": ("other/file", "stands beside"),
    "no folder": ("file", "stands beside"),
    "twice": ("top/first", "twice"),
    "other case": ("top/FIRST", "some systems take it for top/first"),
    "other normal form": ("top/e\u0301te\u0301", "some systems take it for top/été"),
    "file as folder": ("top/first/inside", "twice"),
    "folder of other case": ("top/Folder/b", "some systems take it for top/folder"),
    "long": ("top/" + "a/" * 3000 + "b", "more than 4096 bytes"),
}
FIRST = {"top/first": b"1", "top/été": b"2", "top/folder/a": b"3"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", NAMES)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_names_that_lead_elsewhere_or_collide_are_refused(case: str, form: Form, tmp_path: Path) -> None:
    name, reason = NAMES[case]
    file = tmp_path / f"x.{form}"
    contents = [*FIRST.items(), (name, b"hostile")]
    if form == "tar":
        tar_of(file, [entry(*one) for one in contents])
    else:
        zip_of(file, contents)
    refused(file, reason)


def refused(file: Path, reason: str, limits: Limits | None = None) -> None:
    """Neither read in place nor unpacked, with this reason; nothing is left beside the file."""
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(EvidenceError, match=reason):
        unpack(file, file.parent, limits)
    with pytest.raises(EvidenceError, match=reason):
        PackedTree(file, limits)
    assert sorted(file.parent.rglob("*")) == before


KINDS = {
    "symbolic link": (entry("top/l", kind=tarfile.SYMTYPE, target="/etc/passwd"), "a link"),
    "link inside": (entry("top/l", kind=tarfile.SYMTYPE, target="first"), "a link"),
    "hard link": (entry("top/l", kind=tarfile.LNKTYPE, target="top/first"), "a link"),
    "fifo": (entry("top/l", kind=tarfile.FIFOTYPE), "a device"),
    "character device": (entry("top/l", kind=tarfile.CHRTYPE), "a device"),
    "block device": (entry("top/l", kind=tarfile.BLKTYPE), "a device"),
    "unknown type": (entry("top/l", kind=b"Z"), "a device"),
    "sparse": (entry("top/l", b"x" * 512, pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "999999999999"}), "sparse"),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_only_files_and_folders_are_taken_from_a_tar(case: str, tmp_path: Path) -> None:
    bad, reason = KINDS[case]
    refused(tar_of(tmp_path / "x.tar", [entry("top/first", b"1"), bad]), reason)


def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path) -> None:
    for number, mode in enumerate((stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR)):
        refused(zip_of(tmp_path / f"{number}.zip", [("top/file", b"/etc/passwd")], mode=mode | 0o777), "top/file")


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_beyond_the_limits_is_refused(archive: Path, form: Form) -> None:
    file = packed(archive, form)
    refused(file, "more than 5 members", Limits(members=5))
    refused(file, "more than 1000000 bytes", Limits(octets=1_000_000))


def test_a_bomb_is_refused_by_what_it_announces(tmp_path: Path) -> None:
    bomb = zip_of(tmp_path / "bomb.zip", [("top/zeros", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    refused(bomb, "announces more than", Limits(octets=10_000_000))


def test_a_bomb_that_announces_little_is_refused_while_it_is_read(tmp_path: Path) -> None:
    bomb = zip_of(tmp_path / "bomb.zip", [("top/a", b"a"), ("top/zeros", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    data = bomb.read_bytes().replace(struct.pack("<L", 50_000_000), struct.pack("<L", 1000))
    bomb.write_bytes(data)
    with pytest.raises(EvidenceError, match="more bytes than announced"):
        unpack(bomb, tmp_path)
    with PackedTree(bomb) as tree, tree.open("zeros") as stream, pytest.raises(OSError, match="more bytes"):
        stream.read()
    assert list(tmp_path.iterdir()) == [bomb]


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """One large member announced many times."""
    file = zip_of(tmp_path / "x.zip", [("top/one", b"x" * 1000), ("top/two", b"x" * 1000)])
    data = bytearray(file.read_bytes())
    first, second = data.find(b"PK\1\2"), data.rfind(b"PK\1\2")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    file.write_bytes(data)
    refused(file, "says something else|its bytes are also")


def test_a_zip_whose_headers_disagree_is_refused(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "x.zip", [("top/one", b"x" * 1000)])
    data = file.read_bytes()
    file.write_bytes(data.replace(b"top/one", b"top/two", 1))
    refused(file, "says something else")


def test_sizes_that_lie_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("top/file")
    info.size = 10**9
    tar = tmp_path / "x.tar"
    tar.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(10240))
    refused(tar, "announces 1000000000 bytes")
    zipped = zip_of(tmp_path / "x.zip", [("top/file", b"x" * 1000)])
    data = zipped.read_bytes()
    at = data.find(b"PK\1\2")
    for packed_size, size in ((10**9, 10**9), (1000, 999), (900, 1000)):
        lie = struct.pack("<LL", packed_size, size)
        zipped.write_bytes(data[: at + 20] + lie + data[at + 28 :])
        refused(zipped, "announces")


def test_a_huge_extended_header_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    file = tmp_path / "x.tar"
    with file.open("wb") as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        out.truncate((1 << 33) + 10240)
    refused(file, "extended header")


def test_an_endless_chain_of_extended_headers_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 0
    (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) * 5000 + bytes(1024))
    refused(tmp_path / "x.tar", "is no whole tar")


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_or_lengthened_transport_is_refused(archive: Path, form: Form, tmp_path: Path) -> None:
    data = packed(archive, form).read_bytes()
    (tmp_path / "alone").mkdir()
    file = tmp_path / "alone" / f"x.{form}"
    cuts = [600, len(data) // 2, len(data) // 2 // 512 * 512, len(data.rstrip(b"\0")) // 512 * 512]
    for cut in cuts:
        file.write_bytes(data[:cut])
        refused(file, "no whole|no end mark|more than there are|neither")
    file.write_bytes(data + b"more")
    refused(file, "follows")


def test_a_cut_after_a_whole_member_is_seen(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "x.tar", [entry("top/a", b"1"), entry("top/b", b"2")])
    file.write_bytes(file.read_bytes()[:1024])
    refused(file, "no end mark")


def test_damaged_bytes_leave_nothing_of_a_zip(archive: Path, tmp_path: Path) -> None:
    data = bytearray(packed(archive, "zip").read_bytes())
    data[data.find(b"before the folder")] ^= 1
    (tmp_path / "alone").mkdir()
    file = tmp_path / "alone" / "x.zip"
    file.write_bytes(data)
    with pytest.raises(EvidenceError, match="not those that were packed"):
        unpack(file, file.parent)
    assert list(file.parent.iterdir()) == [file]


def test_names_of_devices_and_streams_are_not_unpacked(tmp_path: Path) -> None:
    for number, name in enumerate(("top/CON.txt", "top/file:stream", "top/name. ")):
        file = tar_of(tmp_path / f"{number}.tar", [entry(name, b"x")])
        with pytest.raises(EvidenceError, match="take this name for something else"):
            unpack(file, tmp_path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither a tar nor a zip"),
        (b"hello", "neither a tar nor a zip"),
        (b"\x1f\x8b" + bytes(600), "neither a tar nor a zip"),
        (bytes(10240), "neither a tar nor a zip"),
        (b"PK\5\6" + bytes(18), "holds nothing"),
        (b"PK\3\4" + bytes(600), "no whole zip"),
    ],
)
def test_other_files_are_named_as_such(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", reason)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    file = zip_of(tmp_path / "x.zip", [("top/one", b"x" * 100)])
    data = bytearray(file.read_bytes())
    for header, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(header) + at] |= 1
    file.write_bytes(data)
    refused(file, "password")


def test_random_damage_ends_in_a_refusal_or_the_same_names(archive: Path, tmp_path: Path) -> None:
    """Nothing but a refusal may come of damage: no other error, no endless loop."""
    import random

    chance = random.Random(11)
    small = archives.build(tmp_path / "small", {"a": b"1", "é": b"2"})
    attempts: list[Callable[[bytearray], None]] = [
        lambda data: data.__setitem__(chance.randrange(len(data)), chance.randrange(256)),
        lambda data: data.__delitem__(slice(chance.randrange(len(data)), None)),
    ]
    for form in FORMS:
        whole = packed(small, form, "small").read_bytes()
        file = tmp_path / f"damaged.{form}"
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                if data:
                    chance.choice(attempts)(data)
            file.write_bytes(data)
            try:
                with PackedTree(file) as tree:
                    for node in tree.walk():
                        with tree.open(node.path) as stream:
                            stream.read()
            except (EvidenceError, OSError):
                pass


def test_the_form_is_known_by_its_bytes(archive: Path, tmp_path: Path) -> None:
    assert [packed_form(packed(archive, form)) for form in FORMS] == list(FORMS)
    assert packed_form(archive / "bagit.txt") is None
