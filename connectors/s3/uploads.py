"""Putting objects: whole in one request when they are small, in parts when they are not; published once, or not at all."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    NotFoundError,
    UnsupportedError,
)
from connectors.protocols import Stream
from connectors.s3.applied import apply
from connectors.s3.attributes import tags_held, to_put
from connectors.s3.client import Settings
from connectors.s3.errors import code_of
from connectors.streams import read_into

MIB = 1 << 20
PART = 16 * MIB
"""Bytes of a part; also what `put` sends in one request."""
PARTS = 10_000
_READ = MIB
"""Bytes asked of a body at once: with less, the layers beneath `read` cost as much as the bytes."""
OBJECT_BYTES = 5 << 40


class Uploads(ABC):
    """The writing half of the connector, over its requests."""

    _settings: Settings
    _conditions = True  # until the host says that it does not know If-None-Match
    _unread: dict[str, str]
    _wishes: frozenset[str]
    _room = bytearray()
    """Of one part. Memory that is new for each of them costs a fifth of all the work there is with it."""

    @property
    @abstractmethod
    def uri(self) -> str: ...

    @abstractmethod
    def stat(self, key: str) -> Entry: ...

    @abstractmethod
    def _call(self, operation: str, key: str | None, /, **parameters: Any) -> dict[str, Any]: ...

    @abstractmethod
    def _look(self, key: str, version: dict[str, Any] | None, *, latest: bool) -> Entry: ...

    @abstractmethod
    def _key_problem(self, key: str) -> str | None: ...

    @abstractmethod
    def _only_versioned(self, entry: Entry) -> None: ...

    def preflight(self, entry: Entry) -> None:
        problem = self._key_problem(entry.key)
        if problem:
            raise InvalidKeyError(f"{problem}; rename it at the source, or exclude it", host=self.uri, key=entry.key)
        if entry.kind != "object":
            raise UnsupportedError(f"S3 holds objects only, not a {entry.kind}", host=self.uri, key=entry.key)
        if entry.size is not None and entry.size > OBJECT_BYTES:
            raise UnsupportedError("S3 holds no object of more than 5 TiB", host=self.uri, key=entry.key)

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        self.preflight(entry)
        if not replace:
            self._refuse_existing(entry)
        return self._store(entry, body, replace)

    def put_version(self, entry: Entry, body: Stream) -> Entry:
        self._only_versioned(entry)
        self.preflight(entry)
        return self._store(entry, body, replace=True)

    def part_size(self, size: int) -> int:
        needed = -(-size // PARTS)
        return max(PART, -(-needed // MIB) * MIB)

    def begin(self, entry: Entry) -> str:
        self.preflight(entry)
        token: str = self._call("create_multipart_upload", entry.key, **to_put(entry))["UploadId"]
        return token

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        data = self._fill(entry, body, size)
        if len(data) != size or body.read(1):
            raise CorruptedError(f"the part has not the announced {size} bytes", host=self.uri, key=entry.key)
        return self._send_part(entry, token, number, data)

    def finish(self, entry: Entry, token: str, parts: Sequence[str], *, replace: bool = False) -> Entry:
        if not replace:
            self._refuse_existing(entry)
        listed = [{"PartNumber": number, **json.loads(part)} for number, part in enumerate(parts, 1)]
        self._count(entry, sum(part.pop("size") for part in listed))
        try:
            answer = self._create_only(
                "complete_multipart_upload", entry, replace, UploadId=token, MultipartUpload={"Parts": listed}
            )
        except NotFoundError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            # The answer to an earlier finish was lost, or somebody ended the upload: the object tells.
            self._refuse_existing(entry)
            raise NotFoundError(
                "the host has forgotten this upload; begin the object again", host=self.uri, key=entry.key
            ) from error
        return self._stored(entry, answer)

    def abort(self, entry: Entry, token: str) -> None:
        try:
            self._call("abort_multipart_upload", entry.key, UploadId=token)
        except NotFoundError:
            pass

    def _store(self, entry: Entry, body: Stream, replace: bool) -> Entry:
        if entry.size is not None and entry.size > PART:
            return self._store_in_parts(entry, body, replace)
        size = PART if entry.size is None else entry.size
        data = self._fill(entry, body, size)
        # One more byte tells whether the body ends here.
        if len(data) == size and (more := body.read(1)):
            if entry.size is not None:
                raise self._too_long(entry)
            return self._store_in_parts(entry, _Rejoined(bytes(data) + more, body), replace)
        self._count(entry, len(data))
        return self._stored(entry, self._create_only("put_object", entry, replace, Body=data, **to_put(entry)))

    def _store_in_parts(self, entry: Entry, body: Stream, replace: bool) -> Entry:
        token = self.begin(entry)
        try:
            return self.finish(entry, token, self._send_parts(entry, token, body), replace=replace)
        except BaseException:
            self._abort_quietly(entry, token)
            raise

    def _send_parts(self, entry: Entry, token: str, body: Stream) -> list[str]:
        step = self.part_size(entry.size or 0)
        parts: list[str] = []
        sent = 0
        while data := self._fill(entry, body, step):
            sent += len(data)
            if entry.size is not None and sent > entry.size:
                raise self._too_long(entry)
            parts.append(self._send_part(entry, token, len(parts) + 1, data))
            if entry.size is None and len(parts) % 1000 == 0:
                step *= 2  # ten thousand parts must reach any size, and this one is not known
        self._count(entry, sent)
        return parts

    def _abort_quietly(self, entry: Entry, token: str) -> None:
        try:
            self.abort(entry, token)
        except ConnectorError:
            pass  # the first error matters; parts without an object are invisible

    def _send_part(self, entry: Entry, token: str, number: int, data: bytearray) -> str:
        answer = self._call("upload_part", entry.key, UploadId=token, PartNumber=number, Body=data)
        # AWS wants the checksums that it was given with the parts once more at the end.
        told = {name: value for name, value in answer.items() if name == "ETag" or name.startswith("Checksum")}
        told.pop("ChecksumType", None)
        return json.dumps({**told, "size": len(data)}, sort_keys=True, separators=(",", ":"))

    def _create_only(self, operation: str, entry: Entry, replace: bool, **parameters: Any) -> dict[str, Any]:
        if replace or not self._conditions:
            return self._call(operation, entry.key, **parameters)
        try:
            return self._call(operation, entry.key, IfNoneMatch="*", **parameters)
        except UnsupportedError as error:
            if self._settings.aws or code_of(error) not in {"NotImplemented", "501", "InvalidArgument"}:
                raise
            self._conditions = False
            return self._call(operation, entry.key, **parameters)

    def _refuse_existing(self, entry: Entry) -> None:
        # Before the bytes travel; and all there is where the host ignores If-None-Match.
        try:
            self._call("head_object", entry.key)
        except NotFoundError:
            return
        raise AlreadyExistsError("an object is there already", host=self.uri, key=entry.key)

    def _stored(self, entry: Entry, answer: dict[str, Any]) -> Entry:
        """The entry of what was just stored, that version, after a second try at the tags where the host dropped them."""
        version = {"VersionId": answer["VersionId"]} if answer.get("VersionId") not in {None, "null"} else {}
        found = self._look(entry.key, version, latest=True)
        wanted = tags_held(entry.tags)
        # Only where the host has just shown that it knows ?tagging: another takes the tags for the object's new bytes.
        if wanted and "tags" not in self._unread and found.tags != wanted:
            tags = [{"Key": name, "Value": value} for name, value in wanted.items()]
            try:
                self._call("put_object_tagging", entry.key, Tagging={"TagSet": tags}, **version)
            except ConnectorError:
                return found  # the entry shows the loss
            found = self._look(entry.key, version, latest=True)
        if self._wishes and apply(self._call, self._wishes, entry, found, version):
            found = self._look(entry.key, version, latest=True)
        return found

    def _fill(self, entry: Entry, body: Stream, size: int) -> bytearray:
        """Up to `size` bytes of the body in one buffer, which is the next part's too: use it before you ask for that."""
        if size != PART:
            data = bytearray(size)
        else:
            data = self._room = self._room or bytearray(PART)
        seen = 0
        with memoryview(data) as view:
            while seen < size and (count := read_into(body, view[seen : seen + _READ])):
                seen += count
        return data if seen == size else data[:seen]

    def _count(self, entry: Entry, seen: int) -> None:
        if entry.size is not None and seen != entry.size:
            raise CorruptedError(f"the body ended after {seen} of {entry.size} bytes", host=self.uri, key=entry.key)

    def _too_long(self, entry: Entry) -> CorruptedError:
        return CorruptedError(f"the body is longer than the announced {entry.size} bytes", host=self.uri, key=entry.key)


class _Rejoined:
    """A stream whose beginning was already read."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._rest.read(size)
        piece = bytes(self._head if size < 0 else self._head[:size])
        self._head = self._head[len(piece) :]
        return piece + self._rest.read() if size < 0 else piece

    def close(self) -> None:
        self._head = memoryview(b"")
        self._rest.close()
