"""Data to move, and places to move it between: folders, S3 and SFTP servers of this machine, as we and rclone name them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import servers

from connectors.credentials import resolve
from connectors.location import Location

BUCKET = "cabinet"
PROXY = Path(__file__).parent.parent / "delay-proxy"
_BLOCK = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is moved: so many objects of so many bytes."""

    name: str
    count: int
    size: int
    bytes: int

    def __str__(self) -> str:
        unit, step = next(
            (unit, step) for unit, step in (("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)) if self.size >> step
        )
        return f"{self.count:,} x {self.size / (1 << step):g} {unit}"

    def make(self, folder: Path) -> None:
        """Write the objects: incompressible, each one different, some hundred to a folder."""
        block = random.Random(2026).randbytes(min(_BLOCK, self.size))
        for number in range(self.count):
            path = folder / f"patients/p{number // 100:05d}/document-{number:07d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for at in range(0, self.size, len(block)):
                    mark = f"{number}:{at}:".encode()
                    file.write((mark + block)[: min(len(block), self.size - at)])


@dataclass(frozen=True, kw_only=True)
class Place:
    """One end of a migration: a location for us, a remote and its settings for rclone."""

    location: Location
    remote: str
    settings: dict[str, str] = field(default_factory=dict)
    """Environment variables that tell rclone what the remote is."""


def place(location: Location, name: str) -> Place:
    """The same place for both; `name` is what rclone calls it."""
    found = resolve(location.credentials)
    said: dict[str, str | None]
    if location.scheme == "file":
        return Place(location=location, remote=location.path)
    if location.scheme == "s3":
        endpoint = location.option("endpoint")
        said = {
            "type": "s3",
            "provider": "Other" if endpoint else "AWS",
            "endpoint": endpoint or None,
            "region": location.option("region") or None,
            "force_path_style": "true" if endpoint else None,
            "access_key_id": found.access_key_id,
            "secret_access_key": found.secret_access_key.reveal() if found.secret_access_key else None,
            "env_auth": None if found.access_key_id else "true",
        }
        path = f"{location.host}/{location.path}".rstrip("/")
    elif location.scheme == "sftp":
        said = {
            "type": "sftp",
            "host": location.host,
            "port": str(location.port or 22),
            "user": location.user,
            "key_file": str(found.key_file) if found.key_file else None,
            "known_hosts_file": location.option("known_hosts") or None,
        }
        path = location.path
    else:
        raise ValueError(f"rclone is not compared over {location.scheme}://")
    settings = {f"RCLONE_CONFIG_{name.upper()}_{key.upper()}": value for key, value in said.items() if value}
    return Place(location=location, remote=f"{name}:{path}", settings=settings)


def open_credentials(location: Location) -> dict[str, str]:
    """What the other peers are told of a place's credentials: environment variables of the SDKs, or a key file."""
    found = resolve(location.credentials)
    if location.scheme == "sftp":
        return {"key_file": str(found.key_file)} if found.key_file else {}
    secret = found.secret_access_key.reveal() if found.secret_access_key else ""
    said = {"AWS_ACCESS_KEY_ID": found.access_key_id or "", "AWS_SECRET_ACCESS_KEY": secret}
    return {
        **{name: value for name, value in said.items() if value},
        "AWS_REGION": location.option("region", "us-east-1"),
    }


class Stage:
    """Servers over one scratch folder. The data is one tree on it, which every kind of source serves."""

    def __init__(self, scratch: Path, mems3: Path | None, latency: float = 0) -> None:
        self._scratch, self._mems3, self._latency = scratch, mems3, latency

    def data(self, load: Load) -> Path:
        """The tree of a load, inside a folder that an S3 server can serve."""
        folder = self._scratch / "data" / load.name / BUCKET
        if not folder.exists():
            load.make(folder)
        return folder

    @contextlib.contextmanager
    def source(self, kind: str, load: Load) -> Iterator[Place]:
        data = self.data(load)
        with self._fresh() as folder:
            if kind == "local":
                yield place(Location.parse(data.as_uri()), "source")
            elif kind == "s3":
                with self._s3(folder, data.parent) as server, self._far(server) as far:
                    yield place(far.location(BUCKET), "source")
            else:
                with servers.sshd_server(folder) as server, self._far(server) as far:
                    yield place(replace(far.location("data"), path=data.as_posix()), "source")

    @contextlib.contextmanager
    def destination(self, kind: str) -> Iterator[Place]:
        """An empty place that is gone afterwards: its server too, so that no round pays for the one before."""
        with self._fresh() as folder:
            if kind == "local":
                path = folder / BUCKET
                path.mkdir()
                yield place(Location.parse(path.as_uri()), "destination")
            elif kind == "s3":
                with self._s3(folder, None) as server, self._far(server) as far:
                    with server.client() as client:
                        client.create_bucket(Bucket=BUCKET)
                    yield place(far.location(BUCKET), "destination")
            else:
                with servers.sshd_server(folder) as server, self._far(server) as far:
                    yield place(far.place(), "destination")

    @contextlib.contextmanager
    def _far(self, server: Any) -> Iterator[Any]:
        """The same server at the other end of a long line."""
        if not self._latency:
            yield server
            return
        near = urlsplit(server.endpoint).netloc if isinstance(server, servers.S3Server) else f"127.0.0.1:{server.port}"
        command = [sys.executable, str(PROXY), "--to", near, "--delay", str(self._latency / 2)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            far = process.stdout.readline().strip() if process.stdout else ""
            if isinstance(server, servers.S3Server):
                yield replace(server, endpoint=f"http://{far}")
                return
            port = int(far.rpartition(":")[2])
            known = server.known_hosts.with_name("far_known_hosts")
            known.write_text(server.known_hosts.read_text("ascii").replace(f":{server.port} ", f":{port} "), "ascii")
            yield replace(server, port=port, known_hosts=known)
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir=self._scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _s3(self, folder: Path, data: Path | None) -> Iterator[servers.S3Server]:
        if self._mems3 is None:
            with servers.rclone_s3_server(folder) as server:
                if data is not None:
                    (folder / "s3").rmdir()
                    (folder / "s3").symlink_to(data)
                yield server
            return
        binary, log = str(self._mems3), folder / "s3.log"
        served = ["-root", str(data)] if data is not None else []
        with servers.running(lambda port: [binary, "-addr", f"127.0.0.1:{port}", *served], log) as port:
            endpoint = f"http://127.0.0.1:{port}"
            yield servers.S3Server(endpoint=endpoint, access_key="bench", secret_key="bench-secret", log=log)


def memory_folder(needed: int) -> Path | None:
    """A folder that lives in memory and has room, so that no disk is measured."""
    folder = Path("/dev/shm")
    if folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > needed:
        return folder
    return None


def warm(scratch: Path, size: int) -> None:
    """Have the machine hand over this much memory before anyone is measured: a virtual one may take seconds a GiB for it,
    and the first contender would pay."""
    block = bytes(1 << 20)
    with tempfile.TemporaryFile(dir=scratch) as file:
        for _ in range(min(size, shutil.disk_usage(scratch).free // 2) >> 20):
            file.write(block)
