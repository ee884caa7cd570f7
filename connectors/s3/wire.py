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

if pycurl is not None:  # what each exchange asks for
    _URL, _HEADERS, _STATUS = pycurl.URL, pycurl.HTTPHEADER, pycurl.RESPONSE_CODE
CONNECT_SECONDS, SILENT_SECONDS = 10, 60
_IDLE = 64
"""Handles of one kind that a thread keeps for the next exchanges."""
_BUFFER = 128 << 10
_EMPTY = BytesIO()


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
    """One of libcurl's handles, and what it was last told: each telling costs about a microsecond. Its methods are kept, as
    pycurl makes them anew, which costs as much, whenever they are asked for."""

    __slots__ = (
        "body",
        "curl",
        "done",
        "headers",
        "idle",
        "limit",
        "lines",
        "pieces",
        "secret",
        "size",
        "tell",
        "user",
    )

    def __init__(self, line: Line, method: str, idle: list[_Handle]) -> None:
        self.curl = _curl(line, method)
        self.tell = self.curl.setopt
        self.idle = idle
        self.lines: list[bytes] = []
        self.pieces: list[bytes] = []
        self.body = _EMPTY
        self.headers: list[str] = []
        self.limit = self.size = -1
        self.user = self.secret = ""
        self.done: Callable[[Answer], None] = _nobody
        self.tell(pycurl.HEADERFUNCTION, self.lines.append)
        if method != "HEAD":
            self.tell(pycurl.WRITEFUNCTION, self.pieces.append)
        if method == "PUT":
            self.tell(pycurl.READFUNCTION, self.read)
            self.tell(pycurl.SEEKFUNCTION, self.seek)

    def ask(self, request: Request) -> None:
        """Tell libcurl what differs from the exchange before."""
        tell = self.tell
        tell(_URL, request.url)
        if self.headers != request.headers:
            self.headers = request.headers
            tell(_HEADERS, request.headers)
        if self.limit != request.limit:
            self.limit = request.limit
            tell(pycurl.MAXFILESIZE_LARGE, request.limit)
        if self.user != request.user or self.secret != request.secret:
            self.user, self.secret = request.user, request.secret
            tell(pycurl.USERNAME, request.user)
            tell(pycurl.PASSWORD, request.secret)
        if request.method == "PUT":
            self.body = BytesIO(request.body)
            if self.size != len(request.body):
                self.size = len(request.body)
                tell(pycurl.INFILESIZE_LARGE, self.size)

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
        self._add, self._remove = self._multi.add_handle, self._multi.remove_handle
        self._perform, self._over = self._multi.perform, self._multi.info_read
        self._under_way: dict[Any, _Handle] = {}
        self._idle: dict[tuple[Line, str], list[_Handle]] = {}
        self._due: list[tuple[float, Callable[[], None]]] = []

    def send(self, line: Line, request: Request, done: Callable[[Answer], None]) -> Any:
        """Begin an exchange; `done` gets its answer out of a later `turn`. Returns what `cancel` takes."""
        kind = line, request.method
        idle = self._idle.get(kind)
        if idle is None:
            idle = self._idle[kind] = []
        handle = idle.pop() if idle else _Handle(line, request.method, idle)
        handle.done = done
        handle.ask(request)
        curl = handle.curl
        self._under_way[curl] = handle
        self._add(curl)
        return curl

    def cancel(self, curl: Any) -> None:
        """Give an exchange up; its connection goes with it. One that is over already is left alone."""
        if self._under_way.pop(curl, None) is not None:
            self._remove(curl)
            curl.close()

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
        _, running = self._perform()
        if running == len(self._under_way) and not (self._due and wait <= 0):
            milliseconds = self._multi.timeout()
            if running:
                self._multi.select(wait if milliseconds < 0 else min(wait, milliseconds / 1000))
                self._perform()
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
            more, whole, broken = self._over()
            for curl in whole:
                self._end(curl, 0)
            for curl, number, _ in broken:
                self._end(curl, number)

    def _end(self, curl: Any, broken: int) -> None:
        handle = self._under_way.pop(curl, None)
        if handle is None:
            return
        self._remove(curl)
        pieces, lines = handle.pieces, handle.lines
        answer = Answer(
            status=curl.getinfo(_STATUS),
            headers=_headers(lines),
            body=pieces[0] if len(pieces) == 1 else b"".join(pieces),
            broken=broken,
        )
        lines.clear()
        pieces.clear()
        done, handle.done, handle.body = handle.done, _nobody, _EMPTY
        if broken or len(handle.idle) >= _IDLE:
            curl.close()
        else:
            handle.idle.append(handle)
        done(answer)


def _curl(line: Line, method: str) -> Any:
    """A handle of libcurl with what all such exchanges have in common."""
    curl = pycurl.Curl()
    tell = curl.setopt
    tell(pycurl.NOSIGNAL, 1)
    tell(pycurl.FOLLOWLOCATION, 0)
    tell(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    tell(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
    tell(pycurl.LOW_SPEED_LIMIT, 1)
    tell(pycurl.LOW_SPEED_TIME, SILENT_SECONDS)
    tell(pycurl.TCP_KEEPALIVE, 1)
    tell(pycurl.BUFFERSIZE, _BUFFER)
    tell(pycurl.PROXY, line.proxy)
    tell(pycurl.NOPROXY, "")
    if line.ca:
        tell(pycurl.CAPATH if Path(line.ca).is_dir() else pycurl.CAINFO, line.ca)
    if line.signing:
        tell(pycurl.AWS_SIGV4, line.signing)
    if method == "HEAD":
        tell(pycurl.NOBODY, 1)
    elif method == "PUT":
        tell(pycurl.UPLOAD, 1)
        tell(pycurl.UPLOAD_BUFFERSIZE, _BUFFER)
    else:
        tell(pycurl.HTTPGET, 1)
    return curl


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
        if name is None:
            continue
        if name == _BEGINS:
            found.clear()  # an interim answer, or a proxy's, came before
        elif name in found:
            found[name] = f"{found[name]}, {value}"
        else:
            found[name] = value
    return found


def _read_line(line: bytes) -> tuple[str | None, str]:
    """Name and value; `_BEGINS` for the line of the status; None for what is no header."""
    name, colon, value = line.decode("latin-1").partition(":")
    if colon:
        return name.lower(), value.strip()
    return _BEGINS if name.startswith("HTTP/") else None, ""


_local = threading.local()
_others: list[Wire] = []
"""Of processes that this one was forked from: libcurl, letting go of them here, would say goodbye on their connections."""


def wire() -> Wire:
    """This thread's wire. A forked process has its own: it must not speak on its parent's connections."""
    kept: tuple[int, Wire] | None = getattr(_local, "kept", None)
    if kept is None or kept[0] != os.getpid():
        if kept is not None:
            _others.append(kept[1])
        kept = _local.kept = (os.getpid(), Wire())
    return kept[1]
