"""Tag files are written one way, read strictly for our archives and by the letter for foreign bags."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import example
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import bagit
from manifests.bagit import PAYLOAD_LIST, TAG_LIST, Declaration, Mode, Problem, Severity
from manifests.errors import FormatError

HEX = "ab" * 32
FINAL, DRAFT = Declaration(version="1.0", encoding="UTF-8"), Declaration(version="0.97", encoding="UTF-8")


def reported(run: Callable[[bagit.Report], object]) -> list[tuple[str, str]]:
    """The rules a run reports, with R or W."""
    found: list[Problem] = []
    run(found.append)
    return [(problem.rule, "R" if problem.severity is Severity.REJECT else "W") for problem in found]


def of_list(*lines: str, file: str = PAYLOAD_LIST) -> list[tuple[str, str]]:
    data = [line.encode("utf-8", "surrogateescape") + b"\n" for line in lines]
    return reported(lambda report: list(bagit.read_list(data, file, report)))


def of_foreign(*lines: str, file: str = "manifest-sha256.txt", declared: Declaration = FINAL) -> list[tuple[str, str]]:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return reported(lambda report: bagit.read_foreign_list(data, file, declared, report))


def test_the_lists_of_the_example_are_read_and_written_back() -> None:
    for file, name in ((PAYLOAD_LIST, "manifest-sha256.txt"), (TAG_LIST, "tagmanifest-sha256.partial.txt")):
        lines = example.read(name).splitlines(keepends=True)
        found: list[Problem] = []
        listed = list(bagit.read_list(lines, file, found.append))
        assert found == []
        assert b"".join(bagit.list_line(digest, path) for path, digest in listed) == example.read(name)


def test_the_payload_list_of_the_example_follows_from_its_contents() -> None:
    digests = sorted(
        hashlib.sha256(content).hexdigest() for content in example.CONTENTS.values() if content is not None
    )
    assert sorted(line[:64].decode() for line in example.read("manifest-sha256.txt").splitlines()) == digests


def test_bag_info_of_the_example_is_rebuilt() -> None:
    members = [
        ("BagIt-Profile-Identifier", bagit.PROFILE),
        ("Source-Organization", "Cabinet Exemple"),
        ("Bagging-Date", "2026-11-21"),
        ("External-Identifier", "urn:uuid:24e51ca2-5067-4598-935a-dac4e327d05a"),
        ("Bag-Group-Identifier", "cabinet-exemple"),
        ("Bag-Software-Agent", "portability 0.1.0"),
        ("Payload-Oxum", "72.9"),
    ]
    data = bagit.write_bag_info(members)
    assert data == example.read("bag-info.txt")
    found: list[Problem] = []
    assert bagit.parse_bag_info(data, found.append) == members
    bagit.check_oxum(members, 72, 9, "archive", found.append)
    assert found == []
    assert hashlib.sha256(bagit.DECLARATION).hexdigest() in example.read("tagmanifest-sha256.partial.txt").decode()


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ([f"{HEX}  data/a", f"{HEX}  data/b"], None),
        ([f"{HEX.upper()}  data/a"], "V3"), ([f"{HEX} data/a"], "V3"), ([f"{HEX} *data/a"], "V3"), ([f"{HEX[1:]}  data/a"], "V3"), ([""], "V3"),
        ([f"{HEX}  "], "V3"), ([f"{HEX}  data/b", f"{HEX}  data/a"], "V3"), ([f"\\{HEX}  data/a"], "V3"), ([f"\ufeff{HEX}  data/a"], "V3"),
        ([f"{HEX}   data/a"], "V5"), ([f"{HEX}  /data/a"], "V4"), ([f"{HEX}  data//a"], "V4"), ([f"{HEX}  data/../a"], "V4"), ([f"{HEX}  ./data/a"], "V4"),
        ([f"{HEX}  ~/a"], "V4"), ([f"{HEX}  C:/a"], "V4"), ([f"{HEX}  data\\a"], "V4"), ([f"{HEX}  data/a\r"], "V4"), ([f"{HEX}  data/\x00"], "V4"),
        ([f"{HEX}  data/\udce9"], "V4"), ([f"{HEX}  \\\\?\\data"], "V4"),
        ([f"{HEX}  bagit.txt"], "V5"), ([f"{HEX}  database/a"], "V5"), ([f"{HEX}  data"], "V5"),
        ([f"{HEX}  data/a", f"{HEX}  data/a"], "V6"), ([f"{HEX}  data/100%25"], "V16"),
    ],
)  # fmt: skip
def test_each_broken_rule_of_our_lists_is_a_rejection(lines: list[str], rule: str | None) -> None:
    assert of_list(*lines) == ([(rule, "R")] if rule else [])


def test_a_list_cut_in_its_last_line_and_a_tag_list_with_payload_are_rejected() -> None:
    assert reported(lambda report: list(bagit.read_list([f"{HEX}  data/a".encode()], PAYLOAD_LIST, report))) == [
        ("V3", "R")
    ]
    assert of_list(f"{HEX}  data/a", file=TAG_LIST) == [("V5", "R")]


def test_a_line_separator_of_unicode_does_not_end_a_line() -> None:
    assert of_list(f"{HEX}  data/a\u2028{HEX}  data/b") == []


@given(st.lists(st.text(max_size=8)))
def test_a_list_of_anything_is_read_without_an_error(lines: list[str]) -> None:
    data = [f"{HEX}  data/{line}\n".encode("utf-8", "replace") for line in lines]
    found: list[Problem] = []
    listed = list(bagit.read_list(data, PAYLOAD_LIST, found.append))
    assert len(listed) + len(found) == len(lines)


@pytest.mark.parametrize("path", ["data/a%b", "../a", "data/a\nb", ""])
def test_a_path_that_no_list_can_hold_is_not_written(path: str) -> None:
    with pytest.raises(FormatError):
        bagit.list_line(HEX, path)


@pytest.mark.parametrize(
    ("data", "archive", "bag"),
    [
        (bagit.DECLARATION, [], []),
        (None, [("V1", "R")], [("V1", "R")]),
        (b"", [("V1", "R")], [("V1", "R")]),
        (bagit.DECLARATION.replace(b"\n", b"\r\n"), [("V1", "R")], []),
        (bagit.DECLARATION[:-1], [("V1", "R")], []),
        (b"\xef\xbb\xbf" + bagit.DECLARATION, [("V1", "R")], [("V1", "R")]),
        (bagit.DECLARATION + b"More: x\n", [("V1", "R")], [("V1", "R")]),
        (bagit.DECLARATION.replace(b"Version:", b"Version :"), [("V1", "R")], [("V1", "R")]),
        (bagit.DECLARATION.replace(b"1.0", b"2.0"), [("V1", "R")], [("V1", "R")]),
        (bagit.DECLARATION.replace(b"1.0", b"0.97"), [("V2", "R")], [("V2", "W")]),
        (b"\n".join(reversed(bagit.DECLARATION.split(b"\n")[:2])) + b"\n", [("V1", "R")], [("V1", "R")]),
        (b"\xff\xfe\n\n", [("V1", "R")], [("V1", "R")]),
    ],
)
def test_the_declaration_is_two_lines(
    data: bytes | None, archive: list[tuple[str, str]], bag: list[tuple[str, str]]
) -> None:
    assert reported(lambda report: bagit.parse_declaration(data, "archive", report)) == archive
    assert reported(lambda report: bagit.parse_declaration(data, "bag", report)) == bag


@pytest.mark.parametrize(
    ("lines", "declared", "rules"),
    [
        ([f"{HEX.upper()} \t data/a"], FINAL, []),
        ([f"{HEX} *data/a"], FINAL, [("V3", "W")]),
        ([f"{HEX}  ./data/a"], FINAL, [("V3", "W")]),
        (["garbage"], FINAL, [("V3", "R")]),
        ([f"{HEX[:-2]}  data/a"], FINAL, [("V3", "R")]),
        ([f"{HEX}  data/../../a"], FINAL, [("V4", "R")]),
        ([f"{HEX}  ../data-sibling/a"], FINAL, [("V4", "R")]),
        ([f"{HEX}  data/\udce9"], FINAL, [("V4", "R")]),
        ([f"{HEX}  a"], FINAL, [("V5", "R")]),
        ([f"{HEX}  data/a", f"{HEX}  data/a"], FINAL, [("V6", "R")]),
        ([f"{HEX}  data/a", f"{HEX}  data/a"], DRAFT, [("V6", "W")]),
        ([f"{HEX}  data/a", f"{'cd' * 32}  data/a"], DRAFT, [("V6", "R")]),
        ([f"{HEX}  data/a%0a", f"{HEX}  data/a%0A"], FINAL, [("V6", "R")]),
        ([f"{HEX}  data/a%0a", f"{HEX}  data/a%0A"], DRAFT, []),
    ],
)
def test_foreign_lists_are_read_by_the_letter(
    lines: list[str], declared: Declaration, rules: list[tuple[str, str]]
) -> None:
    assert of_foreign(*lines, declared=declared) == rules


def test_foreign_lists_may_end_their_lines_with_cr_and_be_utf_16() -> None:
    found: list[Problem] = []
    data = f"{HEX}  data/é\r\n{HEX}  data/b\r".encode("utf-16")
    declared = Declaration(version="0.97", encoding="UTF-16")
    assert bagit.read_foreign_list(data, "manifest-sha256.txt", declared, found.append) == {
        "data/é": HEX,
        "data/b": HEX,
    }
    odd = Declaration(version="0.97", encoding="zlib")
    assert bagit.read_foreign_list(f"{HEX}  data/b\n".encode(), "manifest-sha256.txt", odd, found.append) == {
        "data/b": HEX
    }
    assert found == []


def test_percent_signs_are_decoded_as_the_version_says() -> None:
    assert bagit.decode_percent("a%0Ab%0dc%25d%20", final=True) == "a\nb\rc%d%20"
    assert bagit.decode_percent("%2525", final=True) == "%25"
    assert bagit.decode_percent("a%0Ab%0dc%25d%20", final=False) == "a\nb\rc%25d%20"


@pytest.mark.parametrize(
    ("payload", "tags", "archive", "bag"),
    [
        ({PAYLOAD_LIST: ["data/a"]}, {TAG_LIST: ["bagit.txt", "bag-info.txt", PAYLOAD_LIST, "metadata/checkpoint.txt", "metadata/manifest.jsonl.age"]}, [], []),
        ({PAYLOAD_LIST: ["data/a"]}, {TAG_LIST: ["bagit.txt", "bag-info.txt", PAYLOAD_LIST, "metadata/checkpoint.txt"]}, [("V9", "R")], []),
        ({PAYLOAD_LIST: []}, {TAG_LIST: []}, [("V9", "R")] * 5, [("V9", "R")]),
        ({PAYLOAD_LIST: []}, {}, [("V8", "R")], [("V8", "W")]),
        ({PAYLOAD_LIST: ["data/a"], "manifest-md5.txt": []}, {}, [("V7", "R"), ("V8", "R")], [("V7", "R"), ("V8", "W")]),
    ],
)  # fmt: skip
def test_what_lists_say_about_one_another(
    payload: dict[str, list[str]],
    tags: dict[str, list[str]],
    archive: list[tuple[str, str]],
    bag: list[tuple[str, str]],
) -> None:
    assert reported(lambda report: bagit.check_lists(payload, tags, "archive", report)) == archive
    assert reported(lambda report: bagit.check_lists(payload, tags, "bag", report)) == bag


def test_a_draft_may_list_different_files_for_different_algorithms() -> None:
    payload = {PAYLOAD_LIST: ["data/a"], "manifest-md5.txt": ["data/b"]}
    assert reported(lambda report: bagit.check_lists(payload, {}, "bag", report, final=False)) == [("V8", "W")]


@pytest.mark.parametrize(
    ("oxum", "archive", "bag"),
    [(["72.9"], [], []), ([], [("V14", "R")], []), (["72.9", "72.9"], [("V14", "R")], [("V14", "R")]), (["72.8"], [("V14", "R")], [("V14", "R")]), (["٧2.9"], [("V14", "R")], [("V14", "R")])],
)  # fmt: skip
def test_payload_oxum_stands_once_and_is_right(
    oxum: list[str], archive: list[tuple[str, str]], bag: list[tuple[str, str]]
) -> None:
    members = [("payload-OXUM", value) for value in oxum]
    modes: dict[Mode, list[tuple[str, str]]] = {"archive": archive, "bag": bag}
    for mode, expected in modes.items():
        assert reported(lambda report, mode=mode: bagit.check_oxum(members, 72, 9, mode, report)) == expected


def test_bag_info_joins_continued_lines_and_reports_others() -> None:
    found: list[Problem] = []
    data = b"Contact-Name : A\r\nNote: one\n\ttwo\n  three\nbroken\nTime: 09:00\n"
    members = bagit.parse_bag_info(data, found.append)
    assert members == [("Contact-Name", "A"), ("Note", "one two three"), ("Time", "09:00")]
    assert [(problem.rule, problem.line) for problem in found] == [("V3", 5)]
    for label, value in (("A:B", "x"), ("A", "x\ny"), ("", "x"), (" A", "x"), ("A", "\u2028")):
        with pytest.raises(FormatError):
            bagit.write_bag_info([(label, value)])


def test_the_folder_of_an_archive_has_a_short_plain_name() -> None:
    moment = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)
    identifier = "urn:uuid:24e51ca2-5067-4598-935a-dac4e327d05a"
    assert (
        bagit.folder_name("Cabinet Exemple", moment, identifier)
        == "portability-cabinet-exemple-20261121T090500Z-24e51ca2"
    )
    for practice in ("Cabinet médical de l'Œuvre des Écoles réunies", "???", ""):
        name = bagit.folder_name(practice, moment, identifier)
        assert len(name) <= 60
        assert name.replace("-", "").isalnum()
        assert name.isascii()
    assert bagit.archive_id(HEX) == f"sha256:{HEX}"
