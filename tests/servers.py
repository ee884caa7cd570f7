"""Real S3 and SFTP servers on 127.0.0.1 for tests: started on a free port, awaited, stopped; and fresh places on them."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from programs import program

from connectors.location import Location

READY_WITHIN = 60.0
"""Seconds: a machine whose cores are all busy starts Python servers slowly."""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    log: Path

    @property
    def credentials(self) -> str:
        return environment_reference(access_key_id=self.access_key, secret_access_key=self.secret_key)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A plain boto3 client, to look at the server past our own code."""
        client = _client(self)
        try:
            yield client
        finally:
            client.close()  # its connections; it opens others when it is used again

    def location(self, bucket: str, prefix: str = "") -> Location:
        """The location of a bucket that may or may not exist."""
        options = {"endpoint": self.endpoint, "region": self.region, "style": "path"}
        return Location(scheme="s3", host=bucket, path=prefix, options=options, credentials=self.credentials)

    def place(self, *, prefix: str = "", versioned: bool = False) -> Location:
        """The location of a fresh bucket."""
        bucket = f"b-{uuid.uuid4().hex}"
        with self.client() as client:
            client.create_bucket(Bucket=bucket)
            if versioned:
                client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return self.location(bucket, prefix)


@functools.cache
def _client(server: S3Server) -> Any:
    # To make one takes longer than most tests, and the first reads the service's description from JSON.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class SftpServer:
    host: str
    port: int
    user: str
    key_file: Path | None = None
    password: str | None = None
    known_hosts: Path
    folder: Path
    """What the server serves, as a folder of this machine."""
    root: str
    """The same folder as clients name it."""
    log: Path

    @property
    def credentials(self) -> str:
        if self.key_file:
            return environment_reference(key_file=str(self.key_file))
        return environment_reference(password=self.password or "")

    def location(self, name: str) -> Location:
        """The location of a folder that may or may not exist."""
        return Location(
            scheme="sftp",
            host=self.host,
            user=self.user,
            port=self.port,
            path=f"{self.root.rstrip('/')}/{name}",
            options={"known_hosts": str(self.known_hosts)},
            credentials=self.credentials,
        )

    def place(self) -> Location:
        """The location of a fresh folder."""
        name = f"d-{uuid.uuid4().hex}"
        (self.folder / name).mkdir()
        return self.location(name)

    def on_disk(self, location: Location) -> Path:
        """The folder of a location of ours on this machine, to look at it past our own code."""
        return self.folder / location.path.rpartition("/")[2]


def environment_reference(**values: str) -> str:
    """Put credentials into the environment, as `env:` references want them, and return the reference."""
    digest = uuid.uuid5(uuid.NAMESPACE_OID, repr(sorted(values.items()))).hex[:12]
    prefix = f"TEST_{digest.upper()}"
    for name, value in values.items():
        os.environ[f"{prefix}_{name.upper()}"] = value
    return f"env:{prefix}"


@contextlib.contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """moto: wide S3 (versions, tags, locks, conditions), in memory; believes any credentials and any checksum."""
    arguments = [sys.executable, str(Path(__file__).with_name("moto_s3.py")), "-H", "127.0.0.1", "-p"]
    log = folder / "moto.log"
    with running(lambda port: [*arguments, str(port)], log) as port:
        yield S3Server(
            endpoint=f"http://127.0.0.1:{port}", access_key="moto-key", secret_key="moto-secret-0001", log=log
        )


@contextlib.contextmanager
def rclone_s3_server(folder: Path) -> Iterator[S3Server]:
    """`rclone serve s3` over a folder: checks credentials; ignores conditions; renames some keys."""
    access_key, secret_key = "rclone-key", "rclone-secret-0002"
    data, log = folder / "s3", folder / "rclone-s3.log"
    data.mkdir()
    with running(
        lambda port: [
            *_rclone(folder, "s3", port),
            *("--auth-key", f"{access_key},{secret_key}"),
            str(data),
        ],
        log,
    ) as port:
        yield S3Server(endpoint=f"http://127.0.0.1:{port}", access_key=access_key, secret_key=secret_key, log=log)


@contextlib.contextmanager
def rclone_sftp_server(folder: Path) -> Iterator[SftpServer]:
    """`rclone serve sftp` over a folder: user and password; no extensions, not even posix-rename."""
    user, password = "cabinet", "rclone-password-0003"
    data, log, host_key = folder / "sftp", folder / "rclone-sftp.log", folder / "rclone_host_key"
    data.mkdir()
    make_key(host_key)
    with running(
        lambda port: [
            *_rclone(folder, "sftp", port),
            *("--user", user, "--pass", password, "--key", str(host_key)),
            str(data),
        ],
        log,
    ) as port:
        yield SftpServer(
            host="127.0.0.1",
            port=port,
            user=user,
            password=password,
            known_hosts=write_known_hosts(folder / "rclone_known_hosts", port, host_key),
            folder=data,
            root="/",
            log=log,
        )


@contextlib.contextmanager
def sshd_server(folder: Path) -> Iterator[SftpServer]:
    """OpenSSH's own sshd with internal-sftp, as root or as the present user; a client key and a host key of its own."""
    data, log, host_key, client_key = folder / "data", folder / "sshd.log", folder / "host_key", folder / "client_key"
    data.mkdir()
    make_key(host_key)
    make_key(client_key)
    authorized = folder / "authorized_keys"
    shutil.copy(client_key.with_suffix(".pub"), authorized)
    user = getpass.getuser()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)  # sshd's privilege separation asks for it
    config = folder / "sshd_config"

    def arguments(port: int) -> list[str]:
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\nPidFile none\n"
            f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n"
            f"AllowUsers {user}\nPermitRootLogin prohibit-password\nMaxStartups 200\nMaxSessions 200\n"
            # Without sntrup761, which costs either end 0.1 s each time in the OpenSSH of Debian 12.
            "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org\n"
            "Subsystem sftp internal-sftp\n",
            "utf-8",
        )
        # sshd re-executes itself for each connection and therefore insists on an absolute path.
        return [program("sshd"), "-D", "-e", "-f", str(config)]

    with running(arguments, log) as port:
        yield SftpServer(
            host="127.0.0.1",
            port=port,
            user=user,
            key_file=client_key,
            known_hosts=write_known_hosts(folder / "known_hosts", port, host_key),
            folder=data,
            root=data.as_posix(),
            log=log,
        )


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A short-lived folder outside pytest's own, whose long names would not fit a socket or a config line."""
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    arguments: Callable[[int], list[str]], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a server that is told its port; yields the port once it answers there, stops the server at the end."""
    # Another worker may take the free port before the server does: the server then exits, and we ask for another.
    for attempt in range(5):
        port = free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                arguments(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        try:
            if not answers(process, port):
                if attempt < 4 and process.poll() is not None:
                    continue
                raise RuntimeError(f"{arguments(port)[0]} did not answer:\n{log.read_text('utf-8', 'replace')[-2000:]}")
            yield port
            return
        finally:
            stop(process)


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until something accepts connections at the port; False if the process ends first or time runs out."""
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that we started, and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def make_key(path: Path) -> None:
    """An Ed25519 key pair: `path` and `path`.pub."""
    subprocess.run(
        [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def write_known_hosts(path: Path, port: int, host_key: Path) -> Path:
    kind, blob = host_key.with_suffix(".pub").read_text("ascii").split()[:2]
    path.write_text(f"[127.0.0.1]:{port} {kind} {blob}\n", "ascii")
    return path


def _rclone(folder: Path, protocol: str, port: int) -> list[str]:
    return [
        *(program("rclone"), "serve", protocol, "--addr", f"127.0.0.1:{port}"),
        *("--config", os.devnull, "--cache-dir", str(folder / "cache"), "--temp-dir", str(folder)),
    ]
