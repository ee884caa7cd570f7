"""SHA256SUMS is the projection of a manifest that sha256sum understands."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import programs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical, sums
from manifests.errors import FormatError
from manifests.paths import is_archive_path, is_file_path

paths = (
    st.binary(min_size=1, max_size=12)
    .filter(lambda data: b"\0" not in data)
    .map(lambda data: data.decode("utf-8", "surrogateescape"))
)
SHA256 = "ab" * 32


def a_line(key: str, content: bytes = b"", **members: Any) -> dict[str, Any]:
    line = {**canonical.text_members("key", key), "kind": "object", "sha256": hashlib.sha256(content).hexdigest()}
    for name, value in members.items():
        line.update(canonical.text_members(name, value) if isinstance(value, str) else {name: value})
    return line


@given(paths)
def test_a_line_of_any_path_survives(path: str) -> None:
    data = sums.sums_line(path, SHA256)
    assert sums.parse_sums_line(data) == (path.encode("utf-8", "surrogateescape"), SHA256)
    assert data.count(b"\n") == 1
    assert b"\r" not in data


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", SHA256.encode() + b" a\n", SHA256.encode() + b"  a", SHA256.upper().encode() + b"  a\n", b"\\" + SHA256.encode() + b"  a\n",
     SHA256.encode() + b"  a\\b\n", b"\\" + SHA256.encode() + b"  a\\x\n", SHA256.encode() + b"  a\rb\n", SHA256.encode() + b"  \n"],
)  # fmt: skip
def test_a_line_that_coreutils_would_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        sums.parse_sums_line(data)


def test_only_current_objects_stand_there_sorted_by_path_with_their_number_of_exclusions() -> None:
    lines = [
        a_line("a", b"1", path="z"),
        a_line("a//b", b"2"),
        a_line("b", b"3", latest=False),
        a_line("b", b"4", latest=True),
        a_line("c", b"5", kind="link"),
        a_line("d/", b"6"),
        a_line("e", b"7", path="é"),
        a_line("f", b"8", path="z"[:1]),
        a_line("x/../y", b"9"),
    ]
    lines[7]["sha256"] = lines[0]["sha256"]  # a second name of the same file
    out = io.BytesIO()
    assert sums.write_sums(lines, out) == 3
    assert [line.split("  ")[1] for line in out.getvalue().decode().splitlines()] == ["b", "z", "é"]


@given(st.lists(paths.filter(is_file_path), unique=True, max_size=30))
def test_sorting_in_runs_on_disk_gives_the_same_bytes(found: list[str]) -> None:
    lines = [a_line(str(number), path=path) for number, path in enumerate(found)]
    whole, runs = io.BytesIO(), io.BytesIO()
    sums.write_sums(lines, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "_RUN", 3)
        sums.write_sums(lines, runs)
    assert runs.getvalue() == whole.getvalue()
    written = [sums.parse_sums_line(line)[0] for line in io.BytesIO(whole.getvalue())]
    assert written == sorted(path.encode("utf-8", "surrogateescape") for path in found)


@given(st.dictionaries(paths.filter(is_file_path), st.none() | paths.filter(is_file_path), max_size=30))
def test_things_under_their_own_key_and_renamed_ones_are_sorted_together(found: dict[str, str | None]) -> None:
    ordered = sorted(found, key=lambda key: key.encode("utf-8", "surrogateescape"))
    lines = [a_line(key, **({} if found[key] is None else {"path": found[key]})) for key in ordered]
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "_RUN", 40)
        sums.write_sums(lines, out)
    written = [sums.parse_sums_line(line)[0] for line in io.BytesIO(out.getvalue())]
    assert written == sorted(
        {(key if path is None else path).encode("utf-8", "surrogateescape") for key, path in found.items()}
    )


@pytest.mark.parametrize("renamed", [False, True])
def test_sorting_holds_as_much_for_many_lines_as_for_few(renamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_RUN", 1 << 16)

    def peak(count: int) -> int:
        name = "x" * 60
        lines = (
            a_line(f"{n:07}", **({"path": f"{name}{n * 7919 % count:07}"} if renamed else {})) for n in range(count)
        )
        with Path(os.devnull).open("wb") as out:
            tracemalloc.start()
            try:
                sums.write_sums(lines, out)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    peak(10)  # what is loaded once
    assert peak(4_000) < 8 << 16  # all lines together are a mebibyte and more


def test_a_projection_with_any_other_byte_does_not_agree() -> None:
    lines = [a_line(name, name.encode()) for name in "abc"]
    out = io.BytesIO()
    sums.write_sums(lines, out)
    data = out.getvalue()
    assert sums.sums_agree(lines, io.BytesIO(data))
    for wrong in (data[:-1], data + b"\n", data[: len(data) // 3], b"", data.replace(b"  b", b"  B")):
        assert not sums.sums_agree(lines, io.BytesIO(wrong))


@programs.needs("sha256sum")
def test_sha256sum_checks_awkward_names(tmp_path: Path) -> None:
    names = [
        b"plain",
        b"back\\slash",
        b"line\nfeed",
        b"return\r",
        "é".encode(),
        b"latin-\xe9",
        b" space ",
        b"*star",
        b"-dash",
        b"per%0Acent",
    ]
    lines = []
    for name in names:
        (tmp_path / name.decode("utf-8", "surrogateescape")).write_bytes(name)
        lines.append(a_line(name.decode("utf-8", "surrogateescape"), name))
    with (tmp_path / "SHA256SUMS").open("wb") as out:
        sums.write_sums(lines, out)
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_what_may_be_a_path() -> None:
    assert all(is_file_path(key) for key in ("a", "a/b", "a\\b", "...", "a\n"))
    assert not any(is_file_path(key) for key in ("", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0"))
    assert all(is_archive_path(path) for path in ("a", "a/b", "a/.b", "...", "a~", "é", "a/~b"))
    assert not any(
        is_archive_path(path)
        for path in ("", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0", "a\n", "~a", "c:x", "\\\\?\\a", "\udc80")
    )
