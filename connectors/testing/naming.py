"""Clauses 10 and 15: keys that would leave the root, and keys that are hard to hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from connectors.entry import Entry, Posix
from connectors.errors import ConnectorError, InvalidKeyError, NotFoundError, UnsupportedError
from connectors.keys import key_text
from connectors.location import Location
from connectors.protocols import Eraser, Preparer
from connectors.streams import BytesStream
from connectors.testing.base import Base, check_error, content, keys, listed, preserves

HOSTILE: dict[str, str] = {
    "doubled slash": "a//b",
    "leading slash": "/lead",
    "two leading slashes": "//x",
    "trailing slash": "trail/",
    "only a slash": "/",
    "dot": ".",
    "dot first": "./dot",
    "dot inside": "a/./b",
    "up": "..",
    "up first": "../up",
    "up inside": "dir/../up",
    "up last": "x/..",
    "dots that are a name": "...",
    "NFC": "r\u00e9sum\u00e9/\u00e9t\u00e9",
    "NFD": "e\u0301te\u0301",
    "tab": "tab\there",
    "newline": "new\nline",
    "carriage return": "carriage\rreturn",
    "escape": "escape\x1b[31m",
    "delete": "delete\x7f",
    "NUL": "nul\0here",
    "line separator": "line\u2028separator",
    "right to left": "lettre\u202egpj.exe",
    "no-break space": "no\u00a0break",
    "byte order mark": "\ufeffbom",
    "trailing dot": "trailing.",
    "trailing space": "trailing ",
    "leading space": " leading",
    "only a space": " ",
    "device": "CON",
    "device with extension": "aux.txt",
    "drive": "C:\\x",
    "colon": "a:b",
    "emoji": "emoji-\U0001f9b7",
    "percent": "100%",
    "percent code": "a%2Fb%20c%00",
    "plus": "a+b",
    "question mark": "a?b=c",
    "hash": "a#b",
    "ampersand": "a&b<c>",
    "quotes": "a\"b'c`d",
    "backslash": "a\\b",
    "back up": "..\\..\\up",
    "shell": "$(x);*|~!{}[]^",
    "tilde": "~/x",
    "option": "-rf",
    "semicolon": "a;v=1",
    "comma equals": "a=b,c=d",
    "255 bytes": "s" * 255,
    "256 bytes": "s" * 256,
    "255 bytes accented": "\u00e9" * 127 + "x",
    "1024 bytes": "/".join(["k" * 127] * 8)[:1023] + "e",
    "1024 bytes in one": "k" * 1024,
    "not UTF-8": key_text(b"lettre-\xe9t\xe9.pdf"),
    "surrogate as bytes": key_text(b"\xed\xa0\x80"),
    "partial": "x.part",
    "partial folder": ".portability-partial/x",
    "hidden": ".hidden",
}
TWINS: dict[str, tuple[str, str]] = {
    "normal forms": ("\u00e9t\u00e9", "e\u0301te\u0301"),
    "case": ("lettre", "Lettre"),
    "case of an accent": ("\u00e9", "\u00c9"),
    "sharp s": ("stra\u00dfe", "strasse"),
    "trailing slash": ("a", "a/"),
    "leading slash": ("a", "/a"),
    "doubled slash": ("a/b", "a//b"),
    "dot": ("a/b", "a/./b"),
    "up": ("b", "a/../b"),
    "trailing dot": ("a", "a."),
    "trailing space": ("a", "a "),
    "percent": ("a b", "a%20b"),
    "plus": ("a b", "a+b"),
    "backslash": ("a/b", "a\\b"),
    "tab and its picture": ("a\tb", "a\u2409b"),
    "slash and its picture": ("a\u2215b", "a\uff0fb"),
    "file and folder": ("a", "a/b"),
    "folder and file": ("a/b", "a"),
}


class Naming(Base):
    escaping: ClassVar[tuple[str, ...]] = ("../outside", "a/../../outside", "/../outside", "..\\outside")

    def accepted(self, place: Any, key: str) -> bool:
        """What preflight says; a refusal must be one of the two kinds, with its reason."""
        try:
            place.preflight(Entry(key=key, size=3))
        except (InvalidKeyError, UnsupportedError) as error:
            check_error(error, place, key)
            return False
        return True

    @pytest.mark.parametrize("name", sorted(HOSTILE))
    def test_15_a_hostile_key_is_kept_exactly_or_refused(
        self, destination: Any, other: Any, location: Location, name: str
    ) -> None:
        key = HOSTILE[name]
        if not self.accepted(destination, key):
            with pytest.raises((InvalidKeyError, UnsupportedError)) as caught:
                self.store(destination, key, b"123")
            check_error(caught.value, destination, key)
            assert keys(other) == []
            assert list(self.residue(location)) == []
            return
        returned = self.store(destination, key, b"123")
        assert returned.key == key
        assert keys(other) == [key]
        assert keys(other, key) == [key]
        assert other.stat(key).key == key
        for entry in (returned, listed(other, key), other.stat(key)):
            assert content(other, entry) == b"123"
        if isinstance(destination, Eraser):
            destination.delete(key)
            assert keys(other) == []

    @pytest.mark.parametrize("name", sorted(TWINS))
    def test_15_twins_are_kept_apart_or_the_second_is_refused(self, destination: Any, other: Any, name: str) -> None:
        kept = {}
        for key in TWINS[name]:
            try:
                self.store(destination, key, key.encode())
                kept[key] = key.encode()
            except ConnectorError as error:
                check_error(error, destination, key)
        assert keys(other) == sorted(kept)
        assert {key: content(other, other.stat(key)) for key in kept} == kept

    def test_15_all_accepted_keys_live_together(self, destination: Any, other: Any) -> None:
        wanted = [key for key in HOSTILE.values() if self.accepted(destination, key)]
        kept = []
        for key in wanted:
            try:
                self.store(destination, key, b"123")
                kept.append(key)
            except ConnectorError as error:
                check_error(error, destination, key)
        assert len(kept) > len(HOSTILE) // 4
        assert keys(other) == sorted(kept)

    def test_10_nothing_is_read_outside_the_root(self, place: Any, location: Location) -> None:
        outside = self.store(place, "outside", b"secret")
        with self.inside(location) as inner:
            for key in self.escaping:
                with pytest.raises((InvalidKeyError, NotFoundError)):
                    inner.stat(key)
                with pytest.raises((InvalidKeyError, NotFoundError)):
                    content(inner, Entry(key=key, size=6))
                with pytest.raises((InvalidKeyError, NotFoundError)):
                    content(inner, replace(outside, key=key))
            for prefix in ("..", "../", "/", "../outside"):
                try:
                    assert keys(inner, prefix) == []
                except InvalidKeyError:
                    pass  # refused, which is as good

    def test_10_nothing_is_written_outside_the_root(self, destination: Any, location: Location) -> None:
        outside = self.store(destination, "outside", b"secret")
        with self.inside(location) as inner:
            for key in self.escaping:
                for replace_it in (False, True):
                    try:
                        inner.put(Entry(key=key, size=3), BytesStream(b"bad"), replace=replace_it)
                    except InvalidKeyError as error:
                        check_error(error, inner, key)
                    except ConnectorError:
                        assert replace_it is False or key in keys(inner)
                if isinstance(inner, Eraser):
                    try:
                        inner.delete(key)
                    except (InvalidKeyError, NotFoundError):
                        pass  # refused, which is as good
        assert destination.stat("outside") == outside
        assert content(destination, outside) == b"secret"
        assert [key for key in keys(destination) if key.startswith("outside")] == ["outside"]

    def test_10_a_link_does_not_lead_outside_the_root(self, destination: Any, location: Location) -> None:
        preserves(destination, "link")
        self.store(destination, "outside", b"secret")
        with self.inside(location) as inner:
            try:
                inner.put(Entry(key="way", kind="link", posix=Posix(target="..")), BytesStream())
                inner.put(Entry(key="file", kind="link", posix=Posix(target="../outside")), BytesStream())
            except InvalidKeyError:
                return  # such a link is not made at all, which is as good
            assert keys(inner) == ["file", "way"]
            for key in ("way/outside", "way/inner/file"):
                with pytest.raises((InvalidKeyError, NotFoundError)):
                    inner.stat(key)
                with pytest.raises((InvalidKeyError, NotFoundError)):
                    content(inner, Entry(key=key, size=6))
            try:
                assert content(inner, inner.stat("file")) != b"secret"
            except ConnectorError:
                pass  # a link has no bytes to read, which is as good
            try:
                self.store(inner, "way/planted", b"bad")
            except ConnectorError:
                pass  # refused, which is as good
        assert "planted" not in keys(destination)

    def inside(self, location: Location) -> Inside:
        return Inside(self, location)


class Inside:
    """A place inside the place, open for the time of a `with`."""

    def __init__(self, suite: Base, location: Location) -> None:
        self._place = suite.open_place(suite.inner(location))

    def __enter__(self) -> Any:
        if isinstance(self._place, Preparer):
            self._place.prepare()
        return self._place

    def __exit__(self, *_: object) -> None:
        self._place.close()
