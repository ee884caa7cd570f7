"""An S3 host in a thread that fails in one chosen way: a page that is no listing, a body that ends early, a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Fault = Literal["second page", "body", "full"]
KEY, BODY = "letter.txt", b"Bonjour, tout va bien.\n" * 100
ETAG = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'


@contextlib.contextmanager
def broken_s3(fault: Fault) -> Iterator[str]:
    """The options of a url, endpoint and all, of a host with this fault."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            if "versioning" in query:
                self._answer(200, b"<VersioningConfiguration/>")
            elif {"tagging", "acl"} & set(query):
                self._answer(501, _error("NotImplemented"))
            elif parts.path.strip("/").count("/"):
                self._answer(200, BODY, cut=fault == "body", headers={"ETag": ETAG})
            elif {"continuation-token", "key-marker", "marker"} & set(query):
                self._answer(200, b"<ListBucketResult><Contents><Key>lett")
            else:
                self._answer(200, _page("versions" in query, more=fault == "second page", empty=fault == "full"))

        def do_HEAD(self) -> None:
            self._answer(404 if fault == "full" else 200, BODY, headers={"ETag": ETAG}, head=True)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(507, _error("InsufficientStorage"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

        def _answer(
            self,
            status: int,
            body: bytes,
            *,
            cut: bool = False,
            head: bool = False,
            headers: dict[str, str] | None = None,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Fri, 20 Nov 2026 09:00:00 GMT")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            if not head:
                self.wfile.write(body[:100] if cut else body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"endpoint=http://127.0.0.1:{server.server_port}&region=eu-west-3&style=path"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(versions: bool, *, more: bool, empty: bool) -> bytes:
    root, item = ("ListVersionsResult", "Version") if versions else ("ListBucketResult", "Contents")
    facts = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    if more:
        facts += "<NextContinuationToken>more</NextContinuationToken>"
        facts += "<NextKeyMarker>letter.txt</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>"
    version = "<VersionId>null</VersionId><IsLatest>true</IsLatest>" if versions else ""
    thing = (
        f"<{item}><Key>{KEY}</Key>{version}<LastModified>2026-11-20T09:00:00.000Z</LastModified>"
        f"<ETag>{ETAG.replace(chr(34), '&quot;')}</ETag><Size>{len(BODY)}</Size></{item}>"
    )
    return f"<{root}>{facts}{'' if empty else thing}</{root}>".encode()


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
