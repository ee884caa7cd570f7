"""Names in an archive: kept where every file system can hold them, otherwise renamed, never merged."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import Any

import example
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.manifest import ManifestReader
from manifests.names import FILES, Mode, broken_rule, fold, naming, utf16_units, version_path
from manifests.paths import is_archive_path

segments = st.one_of(
    st.text(max_size=6),
    st.binary(max_size=6),
    st.sampled_from(["", ".", "..", "CON", "con.txt", "nul .a", "COM¹", "_long", "_LONG", ".DS_Store", "._x", "a~1", "PROGRA~1.DOC", "a.", " a", "\u00a0a", "a%0A", "é", "e\u0301", "É", "ß", "ss", "SS", "ſ", "K", "\u212a", "İ", "i\u0307", "a\u202eb", "\u2028", "\x00", "\ue000", "\U0001f600", "x" * 201, "é" * 101, "~a", "a:b", "œuvre.pdf", "ＣＯＮ", "_~12345678", "thumbs.db", "A", "a"]),
)  # fmt: skip
keys = st.lists(
    st.lists(segments, min_size=1, max_size=4).map(
        lambda parts: b"/".join(
            part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass").replace(b"\xed", b"?")
            for part in parts
        )
    ),
    max_size=25,
    unique=True,
)


def named(found: list[bytes], mode: Mode = "utf8", limit: int = 240) -> dict[bytes, str]:
    with naming(mode, limit) as names:
        return {key: names.path(key.decode("utf-8", "surrogateescape")) for key in sorted(found)}


@pytest.mark.parametrize(
    ("key", "path", "mode"),
    [
        ("Résultats/Écho rénale.pdf", "Résultats/Écho rénale.pdf", "utf8"),
        ("Résultats/Écho rénale.pdf", "Resultats~e6b8b637/Echo renale~d0d53bad.pdf", "ascii"),
        ("Re\u0301sultats/note.txt", "Resultats~c010117d/note.txt", "utf8"),
        ("fin. ", "fin~4e64a6af", "utf8"),
        ("bilan?.pdf", "bilan_~357e57a7.pdf", "utf8"),
        ("facture\u202efdp.exe", "facture_fdp~5ede6caf.exe", "utf8"),
        ("nul.txt", "_nul~497d0cb6.txt", "utf8"),
        (".DS_Store", "_DS_Store~179bae4a", "utf8"),
        ("PROGRA~1.DOC", "PROGRA_1~fc61b4c0.DOC", "utf8"),
        ("d/" * 130 + "long.dcm", "_long/3b/long~3b4407d07ca81fb2.dcm", "utf8"),
    ],
)
def test_the_table_of_the_format(key: str, path: str, mode: Mode) -> None:
    assert named([key.encode()], mode) == {key.encode(): FILES + path}


def test_the_worked_example_has_the_paths_of_its_manifest() -> None:
    with naming() as names:
        for receipt in ManifestReader(io.BytesIO(example.read("manifest.jsonl"))):
            if receipt.kind == "object" and receipt.latest:
                assert names.path(receipt.key) == receipt.path
            elif receipt.kind == "object":
                assert receipt.sha256 is not None
                assert version_path(receipt.sha256) == receipt.path


@given(keys, st.sampled_from(["utf8", "ascii"]), st.sampled_from([120, 180, 240]))
def test_names_are_safe_and_never_merged(found: list[bytes], mode: Mode, limit: int) -> None:
    paths = named(found, mode, limit)
    assert paths == named(found, mode, limit)
    folds = {fold(path) for path in paths.values()}
    assert len(folds) == len(paths)
    folders: dict[str, str] = {}
    for key, path in paths.items():
        assert path.startswith(FILES)
        assert is_archive_path(path)
        assert utf16_units(path) <= limit
        inside = path.removeprefix(FILES).split("/")
        if inside[0] == "_long":
            del inside[0]
        assert [broken_rule(segment, mode) for segment in inside] == [None] * len(inside), (key, path)
        if mode == "ascii":
            assert path.isascii()
        for depth in range(2, path.count("/") + 1):
            folder = "/".join(path.split("/")[:depth])
            assert folders.setdefault(fold(folder), folder) == folder  # one folder, one spelling
    assert not folds & folders.keys()  # no file is a folder


@given(keys)
def test_a_key_that_breaks_no_rule_and_meets_no_twin_keeps_its_name(found: list[bytes]) -> None:
    for key, path in named(found).items():
        kept = path == FILES + key.decode("utf-8", "surrogateescape")
        if not kept and not path.startswith(f"{FILES}_long/"):
            assert "~" in path


@pytest.mark.parametrize(
    ("segment", "rule"),
    [("e\u0301", "S1"), ("\udce9", "S1"), ("", "S2"), ("..", "S2"), ("a|b", "S3"), ("100%", "S3"), ("a\tb", "S3"), ("a\u200db", "S3"), ("a\u2028b", "S3"),
     (" a", "S4"), ("a\u3000", "S4"), ("a.", "S4"), ("Con", "S5"), ("aux.tar.gz", "S5"), ("lpt9 .x", "S5"), ("com²", "S5"), ("DESKTOP.INI", "S6"), ("._a", "S6"),
     ("a~1", "S7"), ("LONGNA~1.TXT", "S7"), ("é" * 101, "S8"), ("_Long", "S9"),
     ("CONSOLE", None), ("LONGNAM~12.TXT", None), ("a~1.text", None), ("a~b", None), (".hidden", None), ("…", None), ("😀", None), ("a..b", None)],
)  # fmt: skip
def test_each_rule_of_a_segment(segment: str, rule: str | None) -> None:
    assert broken_rule(segment) == rule
    if rule is None and not segment.isascii():
        assert broken_rule(segment, "ascii") == "S10"


def test_keys_out_of_order_are_refused_because_names_depend_on_it() -> None:
    with naming() as names:
        names.path("b")
        for key in ("b", "a"):
            with pytest.raises(ValueError, match="byte order"):
                names.path(key)
    with pytest.raises(ValueError, match="240"), naming(limit=119):
        pass


def test_the_longest_path_is_known() -> None:
    with naming() as names:
        names.path("a")
        names.path("é\U0001f600")
        assert names.longest == len(FILES) + 3


@given(keys)
def test_every_name_can_be_created_on_the_file_system_at_hand(
    tmp_path_factory: pytest.TempPathFactory, found: list[bytes]
) -> None:
    root: Path = tmp_path_factory.mktemp("n")
    paths: dict[bytes, Any] = {key: root / path for key, path in named(found, limit=120).items()}
    for key, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(key)
    assert all(path.read_bytes() == key for key, path in paths.items())
    listed = {unicodedata.normalize("NFC", str(path.relative_to(root))) for path in root.rglob("*") if path.is_file()}
    assert len(listed) == len(found)
