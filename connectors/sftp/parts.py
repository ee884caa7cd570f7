"""Large objects in parts, at servers where a file can be written at any place."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence

from connectors.entry import Entry
from connectors.errors import CorruptedError, NotFoundError
from connectors.protocols import Stream
from connectors.sftp import wire as sftp
from connectors.sftp.connector import Sftp
from connectors.sftp.pipeline import at_once

_PART = 1 << 25


class SftpWithParts(Sftp):
    """A place that also is Multipart: each part is written at its offset of one partial file, named by the token."""

    def part_size(self, size: int) -> int:
        return _PART

    def begin(self, entry: Entry) -> str:
        self.preflight(entry)
        token = secrets.token_hex(16)
        # Whether the key is free is asked at the end, when it counts: a replacement may be wanted by then.
        remote, handle = at_once(self._create(entry, token, replace=True))
        with self._at(entry.key, remote):
            remote.do(sftp.CLOSE, handle)
        return token

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        with self._at(entry.key) as remote:
            handle = remote.wire.handle(remote.ask_partial(token, sftp.FLAG_WRITE))
        offset = (number - 1) * self.part_size(entry.size or 0)
        try:
            at_once(self._write(Entry(key=entry.key, size=size), remote, handle, offset, body))
            at_once(self._finish_writing(entry.key, remote, handle))
        except BaseException:
            self._give_back(remote, handle)
            raise
        return str(size)

    def finish(self, entry: Entry, token: str, parts: Sequence[str], *, replace: bool = False) -> Entry:
        # A part that was never sent may be a hole of the right length: the sizes given back to us must add up too.
        sent = sum(map(int, parts))
        if entry.size is not None and sent != entry.size:
            raise CorruptedError(f"the parts hold {sent} of {entry.size} bytes", host=self._host, key=entry.key)
        with self._at(entry.key) as remote:
            handle = remote.wire.handle(remote.ask_partial(token, sftp.FLAG_WRITE))
        return at_once(self._publish(entry, remote, handle, token, replace=replace))

    def abort(self, entry: Entry, token: str) -> None:
        with contextlib.suppress(NotFoundError), self._at(entry.key) as remote:
            remote.do(sftp.REMOVE, remote.partial(token))
