"""Many small HTTP exchanges at once over libcurl: signed, on kept connections, nothing repeated and nothing understood."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import pycurl
except ImportError:  # there is no wheel for every system; everything then goes through botocore
    pycurl = None

CONNECT_SECONDS, SILENT_SECONDS = 10, 60
_IDLE = 64
"""Handles of one kind that a thread keeps for the next exchanges."""
_BUFFER = 128 << 10


def available() -> bool:
    """Whether libcurl is there, and signs."""
    return pycurl is not None and hasattr(pycurl, "AWS_SIGV4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How one service is reached: what all exchanges with it share."""

    base: str
    """The bucket's own url, ending in a slash; keys follow it."""
    ca: str
    """A file or a folder of certificates."""
    proxy: str
    """"": none, whatever the environment says."""
    signing: str
    """As libcurl wants it, "aws:amz:REGION:s3"; "": anonymous."""

    @property
    def bucket(self) -> str:
        """The url without a key: only where the bucket is in the host's name does it end in a slash."""
        return self.base if urlsplit(self.base).path == "/" else self.base.removesuffix("/")


@dataclass(slots=True, kw_only=True)
class Request:
    """GET, HEAD or PUT of one url."""

    method: str
    url: str
    headers: list[str]
    limit: int
    """Bytes of an answer's body above which the exchange is given up."""
    body: bytes = b""
    user: str = ""
    secret: str = field(default="", repr=False)


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back. `broken` is libcurl's own error number, 0 if the answer is whole."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case; of a repeated name the values joined by a comma."""
    body: bytes = b""
    broken: int = 0

    @property
    def refused(self) -> bool:
        """Whether we broke it off: the other end did not show who it is, or announced too much. Again would be no better."""
        return self.broken in {
            pycurl.E_SSL_CACERT,
            pycurl.E_SSL_CACERT_BADFILE,
            pycurl.E_SSL_CONNECT_ERROR,
            pycurl.E_FILESIZE_EXCEEDED,
        }


class _Handle:
    """One of libcurl's handles, and what it was last told: each telling costs about a microsecond."""

    __slots__ = ("body", "curl", "done", "kind", "lines", "pieces", "told")

    def __init__(self, curl: Any, kind: tuple[Line, str]) -> None:
        self.curl, self.kind = curl, kind
        self.lines: list[bytes] = []
        self.pieces: list[bytes] = []
        self.body = BytesIO()
        self.told: dict[int, Any] = {}
        self.done: Callable[[Answer], None] = _nobody

    def tell(self, option: int, value: Any) -> None:
        if self.told.get(option) != value:
            self.curl.setopt(option, value)
            self.told[option] = value

    def read(self, size: int) -> bytes:
        return self.body.read(size)

    def seek(self, at: int, origin: int) -> int:
        return 0 if self.body.seek(at, origin) >= 0 else 1


def _nobody(answer: Answer) -> None:
    """Who asks before anybody has."""


class Wire:
    """One thread's exchanges and connections."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._under_way: dict[Any, _Handle] = {}
        self._idle: dict[tuple[Line, str], list[_Handle]] = {}
        self._due: list[tuple[float, Callable[[], None]]] = []

    def send(self, line: Line, request: Request, done: Callable[[Answer], None]) -> Any:
        """Begin an exchange; `done` gets its answer out of a later `turn`. Returns what `cancel` takes."""
        kind = line, request.method
        kept = self._idle.get(kind)
        handle = kept.pop() if kept else _Handle(self._handle(line, request.method), kind)
        handle.done = done
        handle.tell(pycurl.URL, request.url)
        handle.tell(pycurl.HTTPHEADER, request.headers)
        handle.tell(pycurl.MAXFILESIZE_LARGE, request.limit)
        if not handle.told.get(pycurl.HEADERFUNCTION):
            handle.tell(pycurl.HEADERFUNCTION, handle.lines.append)
            if request.method != "HEAD":
                handle.tell(pycurl.WRITEFUNCTION, handle.pieces.append)
            if request.method == "PUT":
                handle.tell(pycurl.READFUNCTION, handle.read)
                handle.tell(pycurl.SEEKFUNCTION, handle.seek)
        if line.signing:
            handle.tell(pycurl.USERNAME, request.user)
            handle.tell(pycurl.PASSWORD, request.secret)
        if request.method == "PUT":
            handle.body = BytesIO(request.body)
            handle.tell(pycurl.INFILESIZE_LARGE, len(request.body))
        self._under_way[handle.curl] = handle
        self._multi.add_handle(handle.curl)
        return handle.curl

    def cancel(self, handle: Any) -> None:
        """Give an exchange up; its connection goes with it. One that is over already is left alone."""
        if self._under_way.pop(handle, None) is not None:
            self._multi.remove_handle(handle)
            handle.close()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` out of a `turn` when so much time has passed."""
        self._due.append((time.monotonic() + seconds, act))

    def turn(self) -> None:
        """Wait until something happens, and let it happen: answers go to those who asked."""
        wait = 1.0
        if self._due:
            now = time.monotonic()
            ready = [act for at, act in self._due if at <= now]
            self._due = [(at, act) for at, act in self._due if at > now]
            for act in ready:
                act()
            wait = min([wait, *(at - now for at, _ in self._due)])
        _, running = self._multi.perform()
        if running == len(self._under_way) and not (self._due and wait <= 0):
            milliseconds = self._multi.timeout()
            if running:
                self._multi.select(wait if milliseconds < 0 else min(wait, milliseconds / 1000))
                self._multi.perform()
            else:
                time.sleep(wait)
        self._settle()

    def close(self) -> None:
        """End all exchanges, and the connections with them."""
        for handle in list(self._under_way):
            self.cancel(handle)
        for kept in self._idle.values():
            for handle in kept:
                handle.curl.close()
        self._multi.close()

    def _settle(self) -> None:
        more = 1
        while more:
            more, whole, broken = self._multi.info_read()
            for handle in whole:
                self._over(handle, 0)
            for handle, number, _ in broken:
                self._over(handle, number)

    def _over(self, curl: Any, broken: int) -> None:
        handle = self._under_way.pop(curl, None)
        if handle is None:
            return
        self._multi.remove_handle(curl)
        pieces = handle.pieces
        answer = Answer(
            status=curl.getinfo(pycurl.RESPONSE_CODE),
            headers=_headers(handle.lines),
            body=pieces[0] if len(pieces) == 1 else b"".join(pieces),
            broken=broken,
        )
        handle.lines.clear()
        pieces.clear()
        done, handle.done, handle.body = handle.done, _nobody, _EMPTY
        kept = self._idle.setdefault(handle.kind, [])
        if broken or len(kept) >= _IDLE:
            curl.close()
        else:
            kept.append(handle)
        done(answer)

    def _handle(self, line: Line, method: str) -> Any:
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.FOLLOWLOCATION, 0)
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
        handle.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        handle.setopt(pycurl.LOW_SPEED_TIME, SILENT_SECONDS)
        handle.setopt(pycurl.TCP_KEEPALIVE, 1)
        handle.setopt(pycurl.BUFFERSIZE, _BUFFER)
        handle.setopt(pycurl.PROXY, line.proxy)
        handle.setopt(pycurl.NOPROXY, "")
        if line.ca:
            handle.setopt(pycurl.CAPATH if Path(line.ca).is_dir() else pycurl.CAINFO, line.ca)
        if line.signing:
            handle.setopt(pycurl.AWS_SIGV4, line.signing)
        if method == "HEAD":
            handle.setopt(pycurl.NOBODY, 1)
        elif method == "PUT":
            handle.setopt(pycurl.UPLOAD, 1)
            handle.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER)
        else:
            handle.setopt(pycurl.HTTPGET, 1)
        return handle


_EMPTY = BytesIO()
_KNOWN = 512
"""Lines of headers whose meaning is remembered: most are those of the answer before."""
_known: dict[bytes, tuple[str | None, str]] = {}
_BEGINS = "HTTP/"
"""No name of a header: those are in lower case."""


def _headers(lines: list[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        known = _known.get(line)
        if known is None:
            known = _read_line(line)
            if len(_known) >= _KNOWN:
                _known.clear()
            _known[line] = known
        name, value = known
        if name == _BEGINS:
            found.clear()  # an interim answer, or a proxy's, came before
        elif name is not None:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _read_line(line: bytes) -> tuple[str | None, str]:
    """Name and value; `_BEGINS` for the line of the status; None for what is no header."""
    name, colon, value = line.decode("latin-1").partition(":")
    if colon:
        return name.lower(), value.strip()
    return _BEGINS if name.startswith("HTTP/") else None, ""


_local = threading.local()


def wire() -> Wire:
    """This thread's wire. A forked process has its own: it must not speak on its parent's connections."""
    kept: tuple[int, Wire] | None = getattr(_local, "kept", None)
    if kept is None or kept[0] != os.getpid():
        kept = _local.kept = (os.getpid(), Wire())
    return kept[1]
