"""A manifest is written whole or not at all, and read strictly: any changed byte or line is found."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import example
import pytest
from hypothesis import example as hypothesis_example
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical, tree
from manifests.census import Census, CensusTally, census_leaf, census_leaf_of
from manifests.errors import FormatError, ManifestError, SealError, VersionError
from manifests.manifest import LONGEST, Header, ManifestReader, ManifestWriter, prove_line, read_manifest
from manifests.receipt import LEVELS, Loss, Receipt, level_reaches, new_salt

SALT = "R+34TNtCDerrNDPcnFjI9g=="
HEADER = Header(
    job="urn:uuid:7d1b6c1e-0d8f-4d0e-9a55-3f1f2b6f9c11",
    source="s3://s3.example/cabinet",
    destination="sftp://new.example/cabinet",
    created="2026-11-21T09:05:00Z",
    tool={"name": "portability", "version": "0.1.0"},
    census=CensusTally().census("2026-11-21T09:01:58Z"),
)


def an_object(key: str, **members: Any) -> Receipt:
    return Receipt(
        **{"key": key, "kind": "object", "evidence": "read", "salt": SALT, "size": 1, "sha256": "ab" * 32, **members}
    )


def sealed(lines: list[bytes]) -> bytes:
    """A file with these lines and the seal that fits them: what is wrong with it is in the lines."""
    receipts = lines[1:]
    root = tree.Root()
    for line in receipts:
        root.add(line)
    above = b"".join(line + b"\n" for line in lines)
    parsed = [json.loads(line) for line in receipts]
    size = sum(line.get("size", 0) for line in parsed if line.get("kind") == "object" and type(line.get("size")) is int)
    seal = {
        "bytes": size,
        "count": len(receipts),
        "root": root.digest().hex(),
        "sha256": hashlib.sha256(above).hexdigest(),
    }
    return above + canonical.dumps({"seal": seal}) + b"\n"


def refusal(data: bytes) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        read_manifest(io.BytesIO(data))
    assert caught.value.line is not None
    assert caught.value.rule
    return caught.value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
odd_texts = st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape"))
mappings = st.dictionaries(texts, texts, max_size=3)
receipts = st.builds(
    Receipt,
    key=odd_texts,
    kind=st.sampled_from(["object", "directory", "link"]),
    evidence=st.sampled_from(LEVELS[1:]),
    salt=st.binary(min_size=16, max_size=16).map(lambda data: new_salt(lambda _: data)),
    size=st.integers(0, 2**53 - 1),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    path=st.none() | odd_texts,
    media_type=st.none() | texts,
    headers=st.none() | mappings,
    metadata=st.none() | st.dictionaries(texts, odd_texts, max_size=3),
    tags=st.none() | mappings,
    target=st.none() | odd_texts,
    hardlink_to=st.none() | odd_texts,
    losses=st.none() | st.lists(st.builds(Loss, name=texts, parked=st.none() | texts), max_size=2).map(tuple),
    attempts=st.none() | st.integers(1, 9),
    extra=st.dictionaries(texts.map(lambda name: f"x-{name}"), st.integers(0, 9) | texts, max_size=2),
)


@given(receipts)
def test_a_receipt_survives_its_line(receipt: Receipt) -> None:
    line = receipt.to_line()
    again = Receipt.from_line(line)
    assert again.to_line() == line
    assert again.order_key() == receipt.order_key()
    assert again.extra == receipt.extra
    assert {name: value.encode("utf-8", "surrogateescape") for name, value in (again.metadata or {}).items()} == {
        name: value.encode("utf-8", "surrogateescape") for name, value in (receipt.metadata or {}).items()
    }


@given(odd_texts, st.sampled_from(["object", "link"]), st.none() | st.integers(0, 9))
def test_the_census_leaf_of_a_line_is_the_census_leaf_of_its_thing(key: str, kind: str, order: int | None) -> None:
    line: dict[str, Any] = {**canonical.text_members("key", key), "kind": kind}
    if order is not None:
        line["order"] = order
    assert census_leaf_of(line) == census_leaf(key, kind, order)


@given(st.lists(st.tuples(odd_texts, st.integers(0, 3)), max_size=20))
def test_lines_stand_in_the_order_of_key_bytes(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[str, int]]
) -> None:
    versions = {
        (key.encode("utf-8", "surrogateescape"), order): an_object(key, order=order, version="v", latest=False)
        for key, order in places
    }
    path = tmp_path_factory.mktemp("m") / "manifest.jsonl"
    with ManifestWriter(path, HEADER) as writer:
        for place in sorted(versions):
            writer.add(versions[place])
        written = writer.seal()
    with path.open("rb") as stream:
        reader = ManifestReader(stream)
        assert [receipt.order_key() for receipt in reader] == sorted(versions)
    assert reader.summary == written


def test_only_the_seal_gives_the_file_its_name_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(path, HEADER) as writer:
        writer.add(an_object("a"))
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.jsonl.part"]
    with ManifestWriter(path, HEADER) as writer:  # the same command again
        writer.add(an_object("b"))
        writer.seal()
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.jsonl"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        ManifestWriter(path, HEADER)
    path.unlink()
    with ManifestWriter(path, HEADER) as writer:
        path.write_bytes(before)  # another run was faster
        with pytest.raises(FileExistsError):
            writer.seal()
    assert path.read_bytes() == before


def test_the_writer_refuses_what_the_reader_would_refuse(tmp_path: Path) -> None:
    with ManifestWriter(tmp_path / "manifest.jsonl", HEADER) as writer:
        writer.add(an_object("b"))
        for wrong in (
            an_object("a"),
            an_object("b"),
            an_object("c", sha256=None),
            an_object("c", evidence="none"),
            an_object("c", size=-1),
            an_object("c", salt=""),
            an_object("c", version="v1"),
            an_object("c", media_type="\udc80"),
        ):
            with pytest.raises(FormatError):
                writer.add(wrong)
        with pytest.raises(FormatError):
            writer.add(an_object("c", media_type="a" * LONGEST))
        writer.add(an_object("c"))
        assert writer.seal().count == 2
    with (tmp_path / "manifest.jsonl").open("rb") as stream:
        assert read_manifest(stream).bytes == 2


@pytest.mark.parametrize(
    "change", [{"source": "s3://user:secret@host/x"}, {"demands": "none"}, {"format": "portability-manifest/2"}]
)
def test_a_header_that_breaks_a_rule_is_not_written(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        ManifestWriter(tmp_path / "manifest.jsonl", replace(HEADER, **change))
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_found() -> None:
    data = example.read("manifest.jsonl")
    for at in range(0, len(data), 7):
        refusal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_every_added_removed_swapped_or_cut_line_is_found() -> None:
    lines = [line + b"\n" for line in example.lines()]
    for at in range(len(lines)):
        refusal(b"".join(lines[:at]))
        refusal(b"".join(lines[:at]) + lines[at][:-1])
        refusal(b"".join(lines[:at] + lines[at + 1 :]))
        refusal(b"".join([*lines[:at], lines[at], *lines[at:]]))
        refusal(b"".join([*lines[:at], b"\n", *lines[at:]]))
        if at:
            refusal(b"".join([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]))
    refusal(b"".join([*lines, b"\n"]))
    refusal(b"".join([*lines, b"x"]))
    refusal(b"".join(lines).replace(b"\n", b"\r\n"))
    refusal(b"\xef\xbb\xbf" + b"".join(lines))


def test_the_documents_of_a_resealed_forgery_are_what_the_reader_judges() -> None:
    assert read_manifest(io.BytesIO(sealed(example.lines()[:-1]))).count == 10


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda line: line.pop("key"), "3.6"),
        (lambda line: line.pop("kind"), "3.6"),
        (lambda line: line.pop("evidence"), "3.6"),
        (lambda line: line.pop("salt"), "3.6"),
        (lambda line: line.pop("size"), "3.6"),
        (lambda line: line.pop("sha256"), "3.6"),
        (lambda line: line.pop("path"), "3.4, path"),
        (lambda line: line.pop("order"), "3.4, order"),
        (lambda line: line.update(kind="other"), "3.4, kind"),
        (lambda line: line.update(kind="skipped"), "3.4, reason"),
        (lambda line: line.update(evidence="none"), "3.7"),
        (lambda line: line.update(salt="AAAA"), "3.4, salt"),
        (lambda line: line.update(size="5"), "3.4"),
        (lambda line: line.update(size=True), "3.4"),
        (lambda line: line.update(size=-1), "3.6"),
        (lambda line: line.update(sha256="AB" * 32), "3.6"),
        (lambda line: line.update(order=-1), "3.4, order"),
        (lambda line: line.update(media_type=None), "3.4"),
        (lambda line: line.update(tags={"a": 1}), "3.4"),
        (lambda line: line.update(key_b64="MTAwJS50eHQ="), "3.2, the _b64 rule"),
        (lambda line: line.update(target_b64="/w=="), "3.2, the _b64 rule"),
        (lambda line: line.update(metadata_b64={"a": "/w=="}), "3.2, the _b64 rule"),
        (lambda line: line.update(losses=[{"name": 1, "parked": None}]), "3.4, losses"),
        (lambda line: line.update(losses=[{"name": "tags"}]), "3.4, losses"),
        *[(lambda line, path=path: line.update(path=path), "V4") for path in ("/a", "a//b", "a/", "../a", "a/./b", "a/..", "~a", "C:/a", "a\\b", "a\0", "a\x1fb", "a\x85b", "")],
    ],
)  # fmt: skip
def test_each_broken_rule_of_a_receipt_is_refused_with_its_line(
    change: Callable[[dict[str, Any]], Any], rule: str
) -> None:
    header, *lines = example.lines()[:-1]
    line = json.loads(lines[0])
    change(line)
    error = refusal(sealed([header, canonical.dumps(line), *lines[1:]]))
    assert (type(error), error.rule, error.line) == (FormatError, rule, 2)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda header: header.update(format="portability-manifest/2"), VersionError),
        (lambda header: header.update(format="portability-manifest/10"), VersionError),
        (lambda header: header.update(format="other/1"), FormatError),
        *[(lambda header, name=name: header.pop(name), FormatError) for name in ("format", "job", "source", "destination", "created", "tool", "demands", "census", "accepts")],
        *[(lambda header, name=name: header["census"].pop(name), FormatError) for name in ("at", "lines", "bytes", "unsized", "kinds", "root")],
        (lambda header: header.update(demands="none"), FormatError),
        (lambda header: header.update(accepts=[1]), FormatError),
        (lambda header: header.update(selection="x"), FormatError),
        (lambda header: header.update(destination="sftp://a:b@c/"), FormatError),
        (lambda header: header.update(destination="sftp://[c/"), FormatError),
        (lambda header: header.update(names=["utf8"]), FormatError),
        (lambda header: header.update(previous=1), FormatError),
    ],
)  # fmt: skip
def test_each_broken_rule_of_a_header_is_refused(
    change: Callable[[dict[str, Any]], Any], kind: type[ManifestError]
) -> None:
    first, *lines = example.lines()[:-1]
    header = json.loads(first)
    change(header)
    error = refusal(sealed([canonical.dumps(header), *lines]))
    assert (type(error), error.line) == (kind, 1)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | texts
    | st.sampled_from(["object", "read", SALT, "ab" * 32, "/w=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*Receipt.__dataclass_fields__, "key_b64", "metadata_b64", "target_b64"]), json_values
    ),
    st.booleans(),
)
@hypothesis_example({"key_b64": None}, True)
def test_a_line_with_members_of_any_type_is_read_or_refused_and_never_an_accident(
    members: dict[str, Any], whole: bool
) -> None:
    base = json.loads(example.lines()[1]) if whole else {}
    data = sealed([HEADER.to_line(), canonical.dumps({**base, **members})])
    try:
        receipts = list(ManifestReader(io.BytesIO(data)))
    except ManifestError:
        return
    assert receipts[0].to_line() == data.split(b"\n")[1]


@given(st.dictionaries(st.sampled_from(list(Header.__dataclass_fields__)), json_values, min_size=1))
def test_a_header_with_members_of_any_type_is_read_or_refused_and_never_an_accident(members: dict[str, Any]) -> None:
    data = canonical.dumps({**json.loads(HEADER.to_line()), **members})
    try:
        header = Header.from_line(data)
    except ManifestError:
        return
    assert header.to_line() == data


@pytest.mark.parametrize(
    "members",
    [
        {"stored_in": {}},
        {"stored_in": {"archive": "sha256:0"}},
        {"stored_in": {"path": "data/files/b"}},
        {"stored_in": {"archive": "", "path": "data/files/b"}},
        {"stored_in": {"archive": "sha256:0", "path": "../b"}},
        {"stored_in": {"archive": "sha256:0", "path": "data/files/b"}, "path": "data/files/b"},
        {"stored_in": {"archive": ["sha256:0"], "path": "data/files/b"}},
    ],
)
def test_a_line_whose_bytes_nobody_could_look_for_is_refused(members: dict[str, Any]) -> None:
    header, line, *_ = example.lines()
    base = json.loads(line)
    del base["path"]
    data = sealed([header, canonical.dumps({**base, **members})])
    with pytest.raises(FormatError, match="stored_in"):
        list(ManifestReader(io.BytesIO(data)))


def test_lines_out_of_order_or_twice_are_refused_even_under_a_fitting_seal() -> None:
    header, *lines = example.lines()[:-1]
    for at in range(1, len(lines)):
        swapped = [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
        assert refusal(sealed([header, *swapped])).rule == "3.4, order"
    assert refusal(sealed([header, lines[0], *lines])).rule == "3.4, order"


def test_a_seal_about_other_lines_is_refused() -> None:
    lines = example.lines()
    for member, value in (("bytes", 73), ("count", 9), ("root", "ab" * 32), ("sha256", "ab" * 32)):
        seal = json.loads(lines[-1])
        seal["seal"][member] = value
        error = refusal(b"\n".join([*lines[:-1], canonical.dumps(seal), b""]))
        assert (type(error), error.line) == (SealError, 12)


def test_nothing_is_evidence_before_the_last_line_was_read() -> None:
    reader = ManifestReader(io.BytesIO(example.read("manifest.jsonl")))
    next(iter(reader))
    with pytest.raises(SealError):
        _ = reader.summary


def test_a_line_beyond_four_mebibytes_is_refused_without_being_held() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return b"a" * size

    endless = Endless()
    with pytest.raises(FormatError, match="4 MiB"):
        ManifestReader(endless)
    assert endless.given <= LONGEST + (2 << 20)


def test_unknown_members_survive_copy_filter_and_conversion_and_change_no_verdict(tmp_path: Path) -> None:
    header, *lines = example.lines()[:-1]
    line = {
        **json.loads(lines[0]),
        "zukunft": {"a": [1, None]},
        "losses": [{"name": "acl", "parked": None, "why": "x"}],
    }
    line["source_digests"]["blake9"] = "?"
    first = {**json.loads(header), "new": [1]}
    first["census"]["new"] = 2
    data = sealed([canonical.dumps(first), canonical.dumps(line), *lines[1:]])
    reader = ManifestReader(io.BytesIO(data))
    with ManifestWriter(tmp_path / "manifest.jsonl", reader.header) as writer:
        for receipt in reader:
            writer.add(receipt)
        writer.seal()
    assert (tmp_path / "manifest.jsonl").read_bytes() == data
    assert reader.summary.losses == {"acl": 1}
    assert ManifestReader(io.BytesIO(data)).header.extra == {"new": [1]}
    assert Census.from_dict(first["census"]).extra == {"new": 2}


def test_a_proof_of_a_line_that_is_not_there_is_none() -> None:
    assert prove_line(lambda: io.BytesIO(example.read("manifest.jsonl")), lambda _: False) is None


def test_evidence_levels_are_ordered() -> None:
    assert level_reaches("read", "reported")
    assert level_reaches("listed", "listed")
    assert not level_reaches("reported", "read")
    assert not level_reaches("none", "listed")


def write_and_read(path: Path, count: int) -> int:
    """Peak of the memory allocated while a manifest of `count` lines is written and read, in bytes."""
    tracemalloc.start()
    try:
        with ManifestWriter(path, HEADER) as writer:
            for number in range(count):
                writer.add(an_object(f"patients/{number:09}", salt=new_salt()))
            writer.seal()
        with path.open("rb") as stream:
            assert read_manifest(stream).count == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_flat_with_the_number_of_lines(tmp_path: Path) -> None:
    # Above the size of a block the peak is that of one block and its lines, however many follow.
    small, large = write_and_read(tmp_path / "small.jsonl", 3_000), write_and_read(tmp_path / "large.jsonl", 9_000)
    assert large < small * 1.2
