"""SFTP through the system's OpenSSH program: it encrypts in C, beside us on another core.

It is used where nothing secret has to be handed over: for a login by agent or by key files without passphrase. It knows no other
host keys than those that we know, and reads no configuration.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from connectors.credentials import Credentials, resolve
from connectors.location import Location
from connectors.sftp import options
from connectors.sftp.hostkeys import Known, known_keys
from connectors.sftp.problems import describe
from connectors.sftp.wire import ProtocolError, Wire

DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""In ~/.ssh, tried when no reference names a key."""

_ALIAS = "portability"
"""The name that the known keys have in the file that the program is given."""
_ENVIRONMENT = ("HOME", "PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TMPDIR")
"""What the program gets of our environment, where secrets may stand that are not its business."""
_SETTINGS = {
    "BatchMode": "yes",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "none",
    "HostKeyAlias": _ALIAS,
    "UpdateHostKeys": "no",
    "CheckHostIP": "no",
    "Ciphers": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "Compression": "no",
    "ServerAliveInterval": "30",
    "ClearAllForwardings": "yes",
    "LogLevel": "ERROR",
}
_BUFFER = 1 << 21
_UNQUOTABLE = frozenset('"\\$\n\r')

_beginning = threading.Lock()
"""Servers drop connections when many begin at once (MaxStartups): those of this process begin one after the other."""


def begin(location: Location) -> Wire | str:
    """A conversation through the program, or the reason why there is none. TimeoutError if the server is silent."""
    path = shutil.which("ssh") if os.name == "posix" else None
    if path is None:
        return "there is no program ssh"
    known = list(known_keys(location))
    if all(one.revoked for one in known):
        return "the host key is not known"
    login = _login(resolve(location.credentials))
    if login is None:
        return "it takes an agent, or a key file without passphrase, and no password"
    with _beginning, tempfile.TemporaryFile() as errors, _file(known) as keys:
        known_hosts = _quoted(keys)
        if known_hosts is None:
            return "the name of the folder for temporary files has odd characters"
        settings = {**_SETTINGS, "UserKnownHostsFile": known_hosts}
        command = [path, "-F", "none", "-T", "-a", "-x", *login]
        for name, value in settings.items():
            command += ["-o", f"{name}={value}"]
        command += ["-p", str(location.port or 22), "-l", location.user or getpass.getuser()]
        command += ["-s", "--", location.host.strip("[]"), "sftp"]
        try:
            program = Program(command, errors.fileno(), options.seconds(location))
        except OSError as error:
            return describe(error)
        try:
            return Wire(program)
        except TimeoutError:
            program.close()
            raise
        except (EOFError, OSError, ProtocolError) as error:
            program.close()
            errors.seek(0)
            lines = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines()]
            return next(filter(None, reversed(lines)), describe(error))
        except BaseException:
            program.close()
            raise


class Program:
    """A running ssh program as a Duplex: its input and output are the other end of our socket."""

    def __init__(self, command: list[str], errors: int, timeout: float) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            for end in (self._socket, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=errors,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                    start_new_session=True,  # Ctrl-C on the terminal is for us: what is under way is finished
                )
            except BaseException:
                self._socket.close()
                raise
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._timeout = timeout
        self._ahead: deque[bytes] = deque()

    def send(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                # It may wait for us to take what it has before it takes more from us.
                if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                    self._ahead.append(self._socket.recv(_BUFFER))
                    if not self._ahead[-1]:
                        raise EOFError("the ssh program ended") from None

    def receive(self, size: int) -> bytes:
        if self._ahead:
            return self._ahead.popleft()
        while True:
            try:
                return self._socket.recv(size)
            except BlockingIOError:
                self._wait(select.POLLIN)

    def close(self) -> None:
        self._socket.close()
        # It need not finish: an answer that nobody waited for is not wanted.
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self, events: int) -> int:
        self._poll.register(self._socket, events)
        ready = self._poll.poll(self._timeout * 1000)
        if not ready:
            raise TimeoutError
        return ready[0][1]


def _login(credentials: Credentials) -> list[str] | None:
    """How to log in, as arguments; None where a secret would have to be handed over, or there is nothing to log in with."""
    if credentials.password is not None or credentials.passphrase is not None:
        return None
    keys = [Path(credentials.key_file).expanduser()] if credentials.key_file else []
    if not keys and not credentials.agent:
        keys = [path for path in (Path("~/.ssh").expanduser() / name for name in DEFAULT_KEYS) if path.is_file()]
    agent = not credentials.key_file and bool(os.environ.get("SSH_AUTH_SOCK"))
    if not keys and not agent:
        return None
    files = [_quoted(path.absolute()) for path in keys] or ["none"]
    if None in files:
        return None
    arguments = [] if agent else ["-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes"]
    return [*arguments, *(word for file in files for word in ("-o", f"IdentityFile={file}"))]


@contextlib.contextmanager
def _file(known: list[Known]) -> Iterator[Path]:
    """The keys as a known_hosts file that lives as long as the program begins."""
    lines = [f"{'@revoked ' * one.revoked}{_ALIAS} {one.kind} {base64.b64encode(one.data).decode()}\n" for one in known]
    with tempfile.TemporaryDirectory(prefix="portability-") as folder:
        path = Path(folder) / "known_hosts"
        path.write_text("".join(lines), "utf-8")
        yield path


def _quoted(path: Path) -> str | None:
    """A path as a value of a setting; None where no quoting would help."""
    text = str(path)
    return None if _UNQUOTABLE & set(text) else f'"{text.replace("%", "%%")}"'
