"""Bytes that pass by are hashed and counted, whatever the size of the pieces."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from manifests.digests import Digesting, file_sha256, stream_sha256


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), min_size=1))
def test_the_digest_is_the_same_in_pieces_of_any_size(data: bytes, sizes: list[int]) -> None:
    stream = Digesting(io.BytesIO(data))
    pieces = [stream.read(size) for size in sizes]
    pieces.append(stream.read())
    assert b"".join(pieces) == data
    assert (stream.sha256, stream.count) == (hashlib.sha256(data).hexdigest(), len(data))
    assert stream_sha256(io.BytesIO(data)) == (stream.sha256, len(data))


@given(st.binary(max_size=200), st.integers(1, 50), st.booleans())
def test_the_digest_is_the_same_in_a_buffer_of_any_size(data: bytes, size: int, fills: bool) -> None:
    body = io.BytesIO(data)
    stream, buffer = Digesting(body if fills else OnlyRead(body)), memoryview(bytearray(size))
    pieces = [bytes(buffer[:count]) for count in iter(lambda: stream.readinto(buffer), 0)]
    assert b"".join(pieces) == data
    assert (stream.sha256, stream.count) == (hashlib.sha256(data).hexdigest(), len(data))


class OnlyRead:
    """A stream without `readinto`."""

    def __init__(self, body: io.BytesIO) -> None:
        self.read, self.close = body.read, body.close


def test_closing_closes_the_body_and_keeps_the_digest() -> None:
    body = io.BytesIO(b"abc")
    stream = Digesting(body)
    stream.read(2)
    stream.close()
    assert body.closed
    assert stream.sha256 == hashlib.sha256(b"ab").hexdigest()


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a" * 1_000_000)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"a" * 1_000_000).hexdigest()
