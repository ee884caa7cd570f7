"""SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: packets, pipelined over any two-way byte stream.

Requests are numbered and may be in flight in any number; replies are kept until they are asked for. Names are bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT = 3, 4, 5, 6, 7, 8, 9
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT = 11, 12, 13, 14, 15, 16, 17
RENAME, READLINK, SYMLINK = 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

FLAG_READ, FLAG_WRITE, FLAG_CREATE, FLAG_EXCLUSIVE = 0x01, 0x02, 0x08, 0x20

OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, UNSUPPORTED = range(9)

POSIX_RENAME, FSYNC, STATVFS, LIMITS = (
    b"posix-rename@openssh.com",
    b"fsync@openssh.com",
    b"statvfs@openssh.com",
    b"limits@openssh.com",
)

_HEAD = struct.Struct(">IBI")
_COUNT = struct.Struct(">I")
_RECEIVE = 1 << 20
_LONGEST = 1 << 24  # a length beyond this is noise, not a packet
_FLUSH = 1 << 18  # small requests travel together up to this many bytes


class Duplex(Protocol):
    """A two-way byte stream. `receive` returns b"" at its end; both raise OSError or EOFError when it breaks."""

    def send(self, data: bytes | bytearray) -> None: ...

    def receive(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class StatusError(Exception):
    """The server's own answer to one request: a code and its words. The stream stays usable."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or f"status {code}")
        self.code = code


class ProtocolError(Exception):
    """The bytes are not SFTP as we know it: the stream is of no further use."""


class Attributes(NamedTuple):
    """What the server says of a file. None: it does not say. `mode` has the file type; times are whole seconds."""

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    mtime: int | None = None


def text(data: bytes) -> bytes:
    """A string as the wire has it."""
    return _COUNT.pack(len(data)) + data


def changes(*, mode: int | None = None, mtime: int | None = None, owner: tuple[int, int] | None = None) -> bytes:
    """Attributes to set; with none it is the empty set that OPEN and MKDIR want. `owner`: user and group by number."""
    flags, body = 0, b""
    if owner is not None:
        flags |= 0x02
        body += struct.pack(">II", *owner)
    if mode is not None:
        flags |= 0x04
        body += _COUNT.pack(mode)
    if mtime is not None:
        flags |= 0x08
        body += struct.pack(">II", mtime, mtime)
    return _COUNT.pack(flags) + body


class Wire:
    """One SFTP conversation, used by one thread. `submit` does not wait; the methods named after replies do."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._out = bytearray()
        self._in = bytearray()
        self._last = 0
        self._replies: dict[int, tuple[int, bytes]] = {}
        self._forgotten: set[int] = set()
        self.extensions: dict[bytes, bytes] = {}
        self.longest_read = self.longest_write = 1 << 15
        self._start()

    def submit(self, kind: int, *parts: bytes) -> int:
        """Send a request, now or with the next ones; its number."""
        self._last = number = (self._last + 1) & 0xFFFFFFFF
        self._out += _HEAD.pack(5 + sum(map(len, parts)), kind, number)
        for part in parts:
            self._out += part
        if len(self._out) >= _FLUSH:
            self.flush()
        return number

    def flush(self) -> None:
        if self._out:
            data, self._out = self._out, bytearray()
            self._duplex.send(data)

    def forget(self, *numbers: int) -> None:
        """The replies to these requests are not wanted any more."""
        for number in numbers:
            if self._replies.pop(number, None) is None:
                self._forgotten.add(number)

    def status(self, number: int) -> None:
        """Wait for "done"; StatusError for anything else."""
        self._wait(number, STATUS)

    def handle(self, number: int) -> bytes:
        body = self._wait(number, HANDLE)
        return _string(body, 0)[0]

    def data(self, number: int) -> bytes | None:
        """The bytes of a READ, None at the end of the file."""
        try:
            return self._wait(number, DATA)
        except StatusError as error:
            if error.code == END:
                return None
            raise

    def attributes(self, number: int) -> Attributes:
        return _attributes(self._wait(number, ATTRS), 0)[0]

    def names(self, number: int) -> list[tuple[bytes, Attributes]] | None:
        """The names of a READDIR, READLINK or REALPATH; None at the end of the folder."""
        try:
            body = self._wait(number, NAME)
        except StatusError as error:
            if error.code == END:
                return None
            raise
        try:
            (count,) = _COUNT.unpack_from(body)
            found, at = [], 4
            for _ in range(count):
                name, at = _string(body, at)
                _, at = _string(body, at)  # the longname is for people and has no fixed form
                attributes, at = _attributes(body, at)
                found.append((name, attributes))
        except struct.error as error:
            raise ProtocolError("a list of names ends too early") from error
        return found

    def extended(self, number: int) -> bytes:
        return self._wait(number, EXTENDED_REPLY)

    def close(self) -> None:
        self._duplex.close()

    def _start(self) -> None:
        self._duplex.send(struct.pack(">IBI", 5, INIT, 3))
        while len(self._in) < 4 or len(self._in) < 4 + _COUNT.unpack_from(self._in)[0]:
            self._receive()
        end = 4 + _COUNT.unpack_from(self._in)[0]
        packet = bytes(self._in[4:end])
        del self._in[:end]
        if len(packet) < 5 or packet[0] != VERSION or _COUNT.unpack_from(packet, 1)[0] < 3:
            raise ProtocolError("the server does not speak SFTP version 3")
        at = 5
        while at < len(packet):
            name, at = _string(packet, at)
            self.extensions[name], at = _string(packet, at)
        if LIMITS in self.extensions:
            _, read, write, _ = struct.unpack_from(">4Q", self.extended(self.submit(EXTENDED, text(LIMITS))))
            self.longest_read = min(read or 1 << 15, 1 << 18)
            self.longest_write = min(write or 1 << 15, 1 << 18)

    def _wait(self, number: int, wanted: int) -> bytes:
        while number not in self._replies:
            self.flush()
            self._receive()
            self._sort()
        kind, body = self._replies.pop(number)
        if kind == wanted and kind != STATUS:
            return body
        if kind != STATUS:
            raise ProtocolError(f"reply {kind} where {wanted} was due")
        (code,) = _COUNT.unpack_from(body)
        if code == OK and wanted == STATUS:
            return b""
        words = _string(body, 4)[0].decode("utf-8", "replace") if len(body) >= 8 else ""
        raise StatusError(code, words)

    def _receive(self) -> None:
        piece = self._duplex.receive(_RECEIVE)
        if not piece:
            raise EOFError("the server closed the conversation")
        self._in += piece
        if len(self._in) >= 4 and _COUNT.unpack_from(self._in)[0] > _LONGEST:
            raise ProtocolError("not an SFTP packet; does the server's login print text?")

    def _sort(self) -> None:
        """Take the whole packets out of what was received."""
        at, size = 0, len(self._in)
        with memoryview(self._in) as view:
            while size - at >= 4:
                (length,) = _COUNT.unpack_from(view, at)
                if length > _LONGEST or length < 5:
                    raise ProtocolError(f"a packet of {length} bytes")
                if size - at - 4 < length:
                    break
                _, kind, number = _HEAD.unpack_from(view, at)
                start, at = at + 9, at + 4 + length
                if kind == DATA:
                    if length < 9 or _COUNT.unpack_from(view, start)[0] != length - 9:
                        raise ProtocolError("a piece of a file has another length than it says")
                    start += 4  # cut here, where the copy is made anyway
                if number in self._forgotten:
                    self._forgotten.remove(number)
                else:
                    self._replies[number] = (kind, bytes(view[start:at]))
        if at:
            del self._in[:at]


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    try:
        (length,) = _COUNT.unpack_from(data, at)
    except struct.error as error:
        raise ProtocolError("a packet ends too early") from error
    end = at + 4 + length
    if end > len(data):
        raise ProtocolError("a packet ends too early")
    return data[at + 4 : end], end


def _attributes(data: bytes, at: int) -> tuple[Attributes, int]:
    (flags,) = _COUNT.unpack_from(data, at)
    at += 4
    size = uid = gid = mode = mtime = None
    if flags & 0x01:
        (size,) = struct.unpack_from(">Q", data, at)
        at += 8
    if flags & 0x02:
        uid, gid = struct.unpack_from(">II", data, at)
        at += 8
    if flags & 0x04:
        (mode,) = _COUNT.unpack_from(data, at)
        at += 4
    if flags & 0x08:
        _, mtime = struct.unpack_from(">II", data, at)
        at += 8
    if flags & 0x80000000:
        (count,) = _COUNT.unpack_from(data, at)
        at += 4
        for _ in range(2 * count):
            _, at = _string(data, at)
    return Attributes(size=size, uid=uid, gid=gid, mode=mode, mtime=mtime), at
