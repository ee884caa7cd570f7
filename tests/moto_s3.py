"""moto's S3 server as a program, which answers one request after another."""

from __future__ import annotations

import io
import threading
from typing import Any

from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app


class OneAfterAnother(DomainDispatcherApplication):
    """moto looks whether an object is there (`If-None-Match: *`), then stores it: of two threads both may find nothing and
    both be told that they stored. S3 decides that in one step, and so does moto while it answers one request only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turn = threading.Lock()
        # moto would look for the service behind each request anew, in all of its folders.
        self._s3 = create_backend_app("s3")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        # The body first: who sends slowly keeps nobody waiting.
        body, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
        if environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = io.BytesIO(body.read())
        elif length:
            environ["wsgi.input"] = io.BytesIO(body.read(int(length)))
        with self._turn:
            return self._s3(environ, start_response)


if __name__ == "__main__":
    server.DomainDispatcherApplication = OneAfterAnother  # type: ignore[misc]  # the class that its main() makes the application of
    server.main()
