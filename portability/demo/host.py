"""The demo's own S3 host: moto's server on loopback, filled with a synthetic practice through boto3."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from connectors.errors import UnavailableError, UnsupportedError
from connectors.location import Location
from portability.demo.practice import Thing

REFERENCE = "env:PORTABILITY_DEMO"
ACCESS_KEY_ID = "demo"
SECRET_ACCESS_KEY = "demo-secret"  # noqa: S105  # moto believes any; nobody else ever sees it
REGION = "us-east-1"
MULTIPART_FROM = 8 * 2**20

_ENVIRONMENT = {
    "PORTABILITY_DEMO_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "PORTABILITY_DEMO_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
}
_NO_PROXY = ("NO_PROXY", "no_proxy")

# The server ends with us however we end: its standard input closes even when we are killed.
_SERVER = """
import os, threading
from moto.server import main
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
main(["-H", "127.0.0.1", "-p", "0"])
"""


class S3Host:
    """A context in which an S3 server answers on a free port of this machine. What it holds is gone with it.

    The credentials behind `REFERENCE` stand in the environment meanwhile, and loopback is exempt from proxies, for this
    process and the workers it starts. UnsupportedError if moto is missing, UnavailableError if the server does not start.
    """

    def __init__(self, *, ready_within: float = 60.0) -> None:
        self.endpoint = ""
        self._ready_within = ready_within
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> S3Host:
        try:
            importlib.import_module("moto.server")
        except ImportError as error:
            raise UnsupportedError(
                "the demo needs extra packages: pip install 'portability-toolkit[demo]'", cause=str(error)
            ) from error
        with self._stack as stack:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portability-demo-"))) / "server.log"
            process = stack.enter_context(_running(log))
            self.endpoint = f"http://127.0.0.1:{_port(process, log, self._ready_within)}"
            stack.enter_context(_environment())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def location(self, bucket: str, prefix: str = "") -> Location:
        """A place on this host, with the reference to its credentials."""
        # moto 5.2 answers 500 when asked for the ACL of an object that was sent in parts.
        options = {"endpoint": self.endpoint, "region": REGION, "style": "path", "acl": "ignore"}
        query = urlencode(options, safe=":/")
        return Location.parse(f"s3://{bucket}/{prefix}?{query}", credentials=REFERENCE)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A boto3 client, for looking at the host past our own code."""
        import boto3  # half a second that `portability --help` need not pay
        from botocore.config import Config

        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )
        try:
            yield client
        finally:
            client.close()

    def create(self, bucket: str, *, versioned: bool = True) -> None:
        """Make an empty bucket."""
        with self.client() as client:
            client.create_bucket(Bucket=bucket)
            if versioned:
                client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def fill(self, things: Iterable[Thing], bucket: str, *, versioned: bool = True) -> None:
        """Make a bucket and put the things into it in their order, so that the newest state of a key is the current one."""
        self.create(bucket, versioned=versioned)
        with self.client() as client:
            for thing in things:
                _put(client, bucket, thing)


def _put(client: Any, bucket: str, thing: Thing) -> None:
    if thing.deleted:
        client.delete_object(Bucket=bucket, Key=thing.key)
        return
    extra: dict[str, Any] = {"ContentType": thing.media_type, "Metadata": dict(thing.metadata)}
    for name, value in thing.headers.items():
        argument = "".join(word.capitalize() for word in name.split("_"))
        extra[argument] = parsedate_to_datetime(value) if name == "expires" else value
    if thing.tags:
        extra["Tagging"] = urlencode(thing.tags)
    if len(thing.data) < MULTIPART_FROM:
        client.put_object(Bucket=bucket, Key=thing.key, Body=thing.data, **extra)
        return
    from boto3.s3.transfer import TransferConfig  # see `client`

    config = TransferConfig(multipart_threshold=MULTIPART_FROM, multipart_chunksize=MULTIPART_FROM, use_threads=False)
    client.upload_fileobj(io.BytesIO(thing.data), bucket, thing.key, ExtraArgs=extra, Config=config)


@contextlib.contextmanager
def _running(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # A group of its own: Ctrl-C in the demo must let the last transfers finish, so it must not reach the server.
    group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, **group
        )
    try:
        yield process
    finally:
        process.kill()  # all it holds is in memory
        process.communicate()


def _port(process: subprocess.Popen[bytes], log: Path, within: float) -> int:
    """The free port that the server says it took: it listens before it says so."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
        said = log.read_text("utf-8", "replace")
        found = re.search(r"Running on http://127\.0\.0\.1:(\d+)", said)
        if found:
            return int(found[1])
        if process.returncode is not None or time.monotonic() > deadline:
            state = "did not answer in time" if process.returncode is None else "stopped at once"
            raise UnavailableError(f"the demo's S3 server {state}; it said: {said[-500:].strip() or 'nothing'}")


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    exempt = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    changes = {**_ENVIRONMENT, **dict.fromkeys(_NO_PROXY, exempt)}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
