"""A host that is another S3 server but for what it answers itself: for tests of hosts that lie about a single thing."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import servers

from connectors import Location

Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def between(moto: servers.S3Server, lie: Callable[[str, str, bytes], Answer | None]) -> Iterator[str]:
    """The endpoint of a host that is moto but where `lie(method, path, body)` answers for it."""
    real = urlsplit(moto.endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = lie(self.command, self.path, body)
            if answer is None:
                line = http.client.HTTPConnection(real, timeout=30)
                line.request(self.command, self.path, body, {**dict(self.headers.items()), "Connection": "close"})
                with line.getresponse() as got:
                    answer = got.status, dict(got.getheaders()), got.read()
                line.close()
            status, headers, data = answer
            self.send_response_only(status)
            length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
            dropped = {"content-length", "transfer-encoding", "connection"}
            for name, value in headers.items():
                if name.lower() not in dropped:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = respond  # noqa: N815 - names that http.server looks for

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def through(place: Location, endpoint: str) -> Location:
    text = place.url.replace(place.options["endpoint"], endpoint)
    return Location.parse(text, credentials=place.credentials)
