"""Bags that other programs judge wrong: each is judged right, as an archive and as a foreign bag."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archives
import pytest

from manifests.bagit import Severity
from portability.archive.verifier import VerifierResult, verify_bag

LIST, TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of `abc`."""
Change = Callable[[Path], object]


def _file(folder: Path, path: str | bytes, data: bytes = b"abc") -> None:
    place = os.path.join(os.fsencode(folder), os.fsencode(path))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(data)


def _renew(folder: Path) -> None:
    """Payload-Oxum, tag list and signature are made to fit what the payload list says."""
    archives.close(folder, sign_with=archives.key())


def _oxum(folder: Path) -> None:
    sizes = [path.stat().st_size for path in archives.files_in(folder)]
    info = [line for line in (folder / "bag-info.txt").read_bytes().splitlines(True) if b"Oxum" not in line]
    (folder / "bag-info.txt").write_bytes(b"".join(info) + f"Payload-Oxum: {sum(sizes)}.{len(sizes)}\n".encode())


def _sorted_list(folder: Path, *lines: bytes) -> None:
    """Lines added to the payload list where path order wants them."""
    old = (folder / LIST).read_bytes().splitlines(keepends=True)
    (folder / LIST).write_bytes(b"".join(sorted([*old, *lines], key=lambda line: line.split(b" ", 1)[-1])))


def _line(path: str | bytes, digest: str = ABC) -> bytes:
    return digest.encode() + b"  " + os.fsencode(path) + b"\n"


def added(path: str | bytes, *, listed: str | bytes | None = None, line: bytes | None = None) -> Change:
    """A payload file, and the line that names it (or something like it)."""

    def change(folder: Path) -> None:
        _file(folder, path)
        _oxum(folder)
        _sorted_list(folder, _line(path if listed is None else listed) if line is None else line)
        _renew(folder)

    return change


def listed_only(path: str | bytes) -> Change:
    """A line that names no file of the bag."""

    def change(folder: Path) -> None:
        _sorted_list(folder, _line(path))
        _renew(folder)

    return change


def declared(data: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / "bagit.txt").write_bytes(data)
        _renew(folder)

    return change


def draft(*changes: Change) -> Change:
    """The same in version 0.97."""
    return together(declared(b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"), *changes)


def together(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def relined(edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    """The lines of the payload list, edited."""

    def change(folder: Path) -> None:
        (folder / LIST).write_bytes(b"".join(edit((folder / LIST).read_bytes().splitlines(keepends=True))))
        _renew(folder)

    return change


def tag_file(name: str, data: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)
        _renew(folder)

    return change


def sibling(folder: Path) -> None:
    """A path that begins like the bag's own folder, and leads to the one beside it."""
    beside = folder.with_name(f"{folder.name}-evil")
    beside.mkdir()
    (beside / "secret").write_bytes(b"abc")
    listed_only(f"data/../../{beside.name}/secret")(folder)


def second_list(edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    def change(folder: Path) -> None:
        archives.close(folder, payload=True, sha512=True)
        other = folder / "manifest-sha512.txt"
        other.write_bytes(b"".join(edit(other.read_bytes().splitlines(keepends=True))))
        _renew(folder)

    return change


def renamed(new: Callable[[str], str]) -> Change:
    """Names on disk as a file system or a copy program gives them back; the lists stay."""

    def change(folder: Path) -> None:
        for path in sorted((folder / "data").rglob("*"), reverse=True):
            path.rename(path.with_name(new(path.name)))

    return change


def two_candidates(folder: Path) -> None:
    """Listed composed; on disk half and wholly decomposed."""
    name = "data/files/vi\u1ebft"
    added(name)(folder)
    (folder / name).unlink()
    _file(folder, "data/files/vi\u00ea\u0301t")
    _file(folder, unicodedata.normalize("NFD", name))


def only_md5(folder: Path) -> None:
    for name in (LIST, TAGS):
        (folder / name).unlink()
    for kind, paths in (("", archives.files_in(folder)), ("tag", [folder / "bagit.txt", folder / "manifest-md5.txt"])):
        lines = [f"{archives.hashlib.md5(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in paths]  # fmt: skip
        (folder / f"{kind}manifest-md5.txt").write_text("".join(lines), encoding="utf-8", newline="\n")


def in_utf16(folder: Path) -> None:
    """Tag files of a draft may be in another encoding, declared in bagit.txt, itself UTF-8."""
    declared(b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-16\n")(folder)
    for name in ("bag-info.txt", LIST, TAGS):
        if name == TAGS:
            _renew(folder)
        path = folder / name
        path.write_bytes(path.read_bytes().decode().encode("utf-16"))


def fetched(target: str, *, there: bool = True) -> Change:
    def change(folder: Path) -> None:
        tag_file("fetch.txt", f"http://host.example/x 3 {target}\n".encode())(folder)
        if not there:
            (folder / target).unlink()

    return change


def dropped(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


R, W = Severity.REJECT, Severity.WARN
# name: change, exit code as archive, rules broken as archive, exit code as bag, rules (with severity) broken as bag
PROBES: dict[str, tuple[Change, int, str, int, str]] = {
    "nothing wrong": (together(), 0, "", 0, ""),
    "percent sign, raw": (added("data/files/100%.txt"), 6, "V16", 0, "V17w"),
    "percent sign, encoded": (added("data/files/100%.txt", listed="data/files/100%25.txt"), 6, "V16", 0, "V17w"),
    "line feed, encoded": (added("data/files/a\nb", listed="data/files/a%0Ab"), 6, "V16", 0, "V17w"),
    "line feed, encoded in small letters": (added("data/files/a\nb", listed="data/files/a%0ab"), 6, "V16", 0, "V17w"),
    "carriage return, encoded": (added("data/files/a\rb", listed="data/files/a%0Db"), 6, "V16", 0, "V17w"),
    "draft: raw name with a code": (draft(added("data/files/a%0Ab")), 6, "V2 V16", 0, "V2w"),
    "draft: encoded name": (draft(added("data/files/a\nb", listed="data/files/a%0Ab")), 6, "V2 V16", 0, "V2w"),
    "draft: percent is not encoded": (draft(added("data/files/a%b", listed="data/files/a%25b")), 6, "V16", 4, "V12"),
    "line separator U+2028": (added("data/files/a\u2028b"), 6, "V17", 0, "V17w"),
    "next line U+0085": (added("data/files/a\x85b"), 6, "V4", 6, "V4"),
    "vertical tab": (added("data/files/a\x0bb"), 6, "V4", 6, "V4"),
    "sibling folder": (sibling, 6, "V4", 6, "V4"),
    "absolute path": (listed_only("/etc/hostname"), 6, "V4", 6, "V4"),
    "home": (listed_only("~/secret"), 6, "V4", 6, "V4"),
    "drive letter": (listed_only("C:/secret"), 6, "V4", 6, "V4"),
    "backslash": (listed_only("data\\..\\..\\secret"), 6, "V4", 6, "V4"),
    "device path": (listed_only("\\\\?\\C:\\secret"), 6, "V4", 6, "V4"),
    "empty segment": (listed_only("data//files/labo/0042.hl7"), 6, "V4", 6, "V4"),
    "NUL": (listed_only("data/a\0b"), 6, "V4", 6, "V4"),
    "list that is not UTF-8": (listed_only(b"data/files/\xe9"), 6, "V4", 6, "V4"),
    "payload list names a tag file": (listed_only("bag-info.txt"), 6, "V5", 6, "V5"),
    "short second list": (second_list(lambda lines: lines[1:]), 6, "V7", 6, "V7"),
    "long second list": (second_list(lambda lines: [*lines, b"0" * 128 + b"  data/more\n"]), 6, "V7 V15", 6, "V7 V15"),
    "complete second list": (second_list(lambda lines: lines), 0, "", 0, ""),
    "twins by case": (added("data/files/labo/VIDE"), 6, "V17", 0, "V17w"),
    "folders that are twins": (added("data/files/LABO/x"), 6, "V17", 0, "V17w"),
    "twins by normal form": (added("data/files/Re\u0301sultats/été.txt"), 6, "V17", 0, "V17w"),
    "device name": (added("data/files/nul.txt"), 6, "V17", 0, "V17w"),
    "unassigned code point": (added("data/files/a\u0378"), 6, "V17w", 0, "V17w"),
    "recomposed on the way": (renamed(lambda name: unicodedata.normalize("NFD", name)), 0, "V17w", 0, "V17w"),
    "two candidates": (two_candidates, 6, "V17", 6, "V17"),
    "repeated Oxum": (lambda f: tag_file("bag-info.txt", (f / "bag-info.txt").read_bytes() + b"Payload-Oxum: 1.1\n")(f), 6, "V14", 6, "V14"),
    "wrong Oxum": (lambda f: tag_file("bag-info.txt", b"Payload-Oxum: 1.1\n")(f), 6, "V14", 6, "V14"),
    "no Oxum": (lambda f: tag_file("bag-info.txt", b"Source-Organization: x\n")(f), 6, "V14", 0, ""),
    "garbage line": (relined(lambda lines: [*lines, b"garbage\n"]), 6, "V3", 6, "V3"),
    "blank line": (relined(lambda lines: [*lines, b"\n"]), 6, "V3", 6, "V3"),
    "digest too short": (relined(lambda lines: [*lines, b"00  data/x\n"]), 6, "V3", 6, "V3"),
    "no LF at the end": (relined(lambda lines: [*lines[:-1], lines[-1].rstrip()]), 6, "V3", 0, ""),
    "CRLF": (relined(lambda lines: [line.replace(b"\n", b"\r\n") for line in lines]), 6, "V4", 0, ""),
    "large hex digits": (relined(lambda lines: [line[:64].upper() + line[64:] for line in lines]), 6, "V3", 0, ""),
    "an asterisk": (relined(lambda lines: [line.replace(b"  ", b" *", 1) for line in lines]), 6, "V3", 0, "V3w"),
    "a dot": (relined(lambda lines: [line.replace(b"  ", b"  ./", 1) for line in lines]), 6, "V4", 0, "V3w"),
    "not sorted": (relined(lambda lines: lines[::-1]), 6, "V3", 0, ""),
    "listed twice": (relined(lambda lines: [lines[0], *lines]), 6, "V6", 6, "V6"),
    "draft: listed twice": (draft(relined(lambda lines: [lines[0], *lines])), 6, "V2 V6", 0, "V2w V6w"),
    "name that is not UTF-8": (lambda f: _file(f, b"data/files/\xe9"), 6, "V11", 6, "V11"),
    "no tag list": (dropped(TAGS), 6, "V8", 0, "V8w"),
    "no payload list": (dropped(LIST), 6, "V15", 6, "V7"),
    "tag list without the payload list": (archives.ALTERATIONS["payload list not in the tag list"], 6, "V9", 6, "V9"),
    "byte order mark": (declared(b"\xef\xbb\xbfBagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"), 6, "V1", 6, "V1"),
    "bagit.txt of Windows": (declared(b"BagIt-Version: 1.0\r\nTag-File-Character-Encoding: UTF-8\r\n"), 6, "V1", 0, ""),
    "unknown version": (declared(b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n"), 6, "V1", 6, "V1"),
    "blank before the colon": (declared(b"BagIt-Version : 1.0\nTag-File-Character-Encoding: UTF-8\n"), 6, "V1", 6, "V1"),
    "draft": (draft(), 6, "V2", 0, "V2w"),
    "draft in UTF-16": (in_utf16, 6, "V2", 0, "V2w"),
    "only MD5": (only_md5, 6, "V8", 0, "V13w"),
    "fetch.txt of what is there": (fetched("data/files/labo/0042.hl7"), 6, "V10", 0, "V10w"),
    "fetch.txt of what is not listed": (fetched("data/files/other"), 6, "V10", 6, "V10"),
    "fetch.txt of what is not there": (fetched("data/files/labo/0042.hl7", there=False), 6, "V10 V15", 6, "V10 V15"),
    "fetch.txt to somewhere else": (fetched("../../etc/passwd"), 6, "V10", 6, "V10"),
    "left by a file manager": (lambda f: _file(f, "data/files/.DS_Store"), 0, "V18w", 0, "V18w"),
    "resource fork": (lambda f: _file(f, "._README.txt"), 0, "V18w", 0, "V18w"),
    "unlisted tag file": (lambda f: _file(f, "notes.txt"), 4, "V13", 0, "V13w"),
    "unlisted payload": (lambda f: _file(f, "data/notes.txt"), 4, "V12", 4, "V12"),
    "empty folder": (lambda f: (f / "data" / "empty").mkdir(), 0, "", 0, ""),
}  # fmt: skip


def _rules(result: VerifierResult) -> set[str]:
    return {rule + ("w" if level is W else "") for rule, level in result.totals}


@pytest.mark.skipif(sys.platform == "win32", reason="these names cannot be made there")
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_bag_is_judged_right_in_both_modes(name: str, tmp_path: Path) -> None:
    change, archive_code, archive_rules, bag_code, bag_rules = PROBES[name]
    folder = archives.build(tmp_path / "bag", sign_with=archives.key())
    change(folder)
    for mode, code, rules in (("archive", archive_code, archive_rules), ("bag", bag_code, bag_rules)):
        result = verify_bag(folder, mode=mode)  # type: ignore[arg-type]  # one of the two literals
        shown: Any = [(found.rule, found.severity.value, found.message, found.path) for found in result.findings]
        assert result.exit_code == code, (mode, shown)
        assert set(rules.split()) <= _rules(result), (mode, shown)
        if not rules:
            assert not _rules(result) - {"V13w"}, (mode, shown)


def test_there_are_at_least_thirty_probes() -> None:
    assert len(PROBES) >= 30


SUITE = os.environ.get("BAGIT_CONFORMANCE_SUITE")
KINDS = ("valid", "invalid", "linux-only", "windows-only", "warning")


def judged(suite: Path) -> dict[str, tuple[int, int]]:
    """Bags accepted and bags there are, by the folder of the suite that they are in: `v1.0/valid/<bag>/bagit.txt`."""
    accepted: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for bag in sorted(bag for kind in KINDS for bag in suite.glob(f"v*/{kind}/*") if bag.is_dir()):
        accepted[bag.parent.name].append(verify_bag(bag, mode="bag").exit_code == 0)
    return {kind: (sum(found), len(found)) for kind, found in accepted.items()}


@pytest.mark.skipif(not SUITE, reason="BAGIT_CONFORMANCE_SUITE does not name a checkout of the conformance suite")
def test_the_conformance_suite_reaches_the_figures_of_the_format() -> None:
    assert judged(Path(SUITE or "")) == {
        "valid": (27, 27),
        "invalid": (0, 15),
        "linux-only": (0, 6),
        "windows-only": (0, 6),
        "warning": (3, 6),
    }


def test_the_runner_of_the_suite_counts_what_it_is_shown(tmp_path: Path) -> None:
    """A folder in the suite's layout, with a bag that lies about where it belongs: the figures must show it."""

    def bag(place: str, name: str, change: Change) -> None:
        change(archives.build(tmp_path / "suite" / place / name))

    bag("v1.0/valid", "plain", together())
    bag("v0.97/valid", "draft", draft())
    bag("v1.0/invalid", "no-declaration", dropped("bagit.txt"))
    bag("v1.0/invalid", "payload", archives.ALTERATIONS["payload changed"])
    bag("v1.0/warning", "twins", added("data/files/labo/VIDE"))
    bag("v1.0/linux-only", "name", added("data/files/a\x85b"))
    honest = {"valid": (2, 2), "invalid": (0, 2), "linux-only": (0, 1), "windows-only": (0, 0), "warning": (1, 1)}
    assert judged(tmp_path / "suite") == honest
    bag("v1.0/invalid", "liar", together())
    bag("v1.0/valid", "liar", archives.ALTERATIONS["payload changed"])
    assert judged(tmp_path / "suite") == {**honest, "invalid": (1, 3), "valid": (2, 3)}
