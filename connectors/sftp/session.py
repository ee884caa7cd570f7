"""SSH connections by paramiko: host keys checked, people recognised, one connection shared by the connectors of a process."""

from __future__ import annotations

import getpass
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import paramiko

from connectors.credentials import Credentials, resolve
from connectors.errors import PermissionDeniedError, UnavailableError
from connectors.location import Location
from connectors.sftp.buffers import Pipe, Socket
from connectors.sftp.hostkeys import Known, check_host_key, known_keys
from connectors.sftp.options import identity, seconds
from connectors.sftp.problems import describe
from connectors.sftp.program import DEFAULT_KEYS

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")  # one pass of the AES unit instead of AES and a MAC
_CHANNELS = 8
"""Per connection; OpenSSH refuses more than MaxSessions, 10 by default."""
_WINDOW = 1 << 26
_PACKET = 1 << 18
_KEEPALIVE = 30
_LOG = "connectors.sftp.transport"


# paramiko reports broken connections as errors with tracebacks; we raise them, and a log line more would only alarm.
logging.getLogger(_LOG).addHandler(logging.NullHandler())
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


@dataclass
class Connection:
    """An authenticated connection and the channels in use on it."""

    transport: paramiko.Transport
    users: int = 0


@dataclass
class _Pool:
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: list[Connection] = field(default_factory=list)


_pools: dict[tuple[object, ...], _Pool] = {}
_pools_lock = threading.Lock()


class Channel:
    """The sftp subsystem on a shared connection, as a Duplex."""

    def __init__(self, location: Location) -> None:
        self._pool = _pool(location)
        timeout = seconds(location)
        with self._pool.lock:
            self._pool.connections = [one for one in self._pool.connections if one.transport.is_active()]
            free = [one for one in self._pool.connections if one.users < _CHANNELS]
            self._connection = free[0] if free else Connection(_connect(location))
            if not free:
                self._pool.connections.append(self._connection)
            self._connection.users += 1
        self._closed = False
        try:
            self._channel = self._connection.transport.open_session(
                window_size=_WINDOW, max_packet_size=_PACKET, timeout=timeout
            )
            self._channel.in_buffer = Pipe()
            self._channel.settimeout(timeout)
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._release()
            raise UnavailableError(
                f"{location.url} accepted the login but opened no SFTP channel: {describe(error)}", host=location.url
            ) from error

    def send(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(bytes(view[:32704]))  # more than a packet holds would only be copied again
            except paramiko.SSHException as error:
                raise ConnectionError(describe(error)) from error
            if not sent:
                raise EOFError("the channel is closed")
            view = view[sent:]

    def receive(self, size: int) -> bytes:
        return self._channel.recv(size)

    def close(self) -> None:
        if not self._closed:
            try:
                self._channel.close()
            except (paramiko.SSHException, EOFError, OSError):
                pass  # the connection is gone, and the channel with it
            self._release()

    def _release(self) -> None:
        self._closed = True
        with self._pool.lock:
            self._connection.users -= 1
            if self._connection.users == 0:
                if self._connection in self._pool.connections:
                    self._pool.connections.remove(self._connection)
                self._connection.transport.close()
                self._connection.transport.join(5)


def _pool(location: Location) -> _Pool:
    key = identity(location)
    with _pools_lock:
        return _pools.setdefault(key, _Pool())


def _connect(location: Location) -> paramiko.Transport:
    host, port, timeout = location.host.strip("[]"), location.port or 22, seconds(location)
    known = list(known_keys(location))
    credentials = resolve(location.credentials)
    try:
        sock = socket.create_connection((host, port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise UnavailableError(
            f"no connection to {host} port {port}: {describe(error)}; is the server up, the name and the port right?",
            host=location.url,
        ) from error
    transport = paramiko.Transport(
        cast("socket.socket", Socket(sock)), default_window_size=_WINDOW, default_max_packet_size=_PACKET
    )
    try:
        transport.set_log_channel(_LOG)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
        _prefer(transport, known)
        try:
            transport.start_client(timeout=timeout)
            transport.set_keepalive(_KEEPALIVE)
            shown = transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise UnavailableError(
                f"{host} port {port} did not begin an SSH conversation: {describe(error)}", host=location.url
            ) from error
        check_host_key(location, shown.get_name(), shown.asbytes(), known)
        _authenticate(location, transport, credentials)
    except BaseException:
        transport.close()
        transport.sock.close()
        raise
    return transport


def _prefer(transport: paramiko.Transport, known: list[Known]) -> None:
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: _CIPHERS.index(name) if name in _CIPHERS else 9)
    # The host is asked first for a key of a kind that we know: a host has several, and another one proves nothing to us.
    kinds = {"rsa-sha2" if one.kind == "ssh-rsa" else one.kind for one in known if not one.revoked}
    options.key_types = sorted(options.key_types, key=lambda name: not name.startswith(tuple(kinds)))


# --- people --------------------------------------------------------------------------------------------------------


def _authenticate(location: Location, transport: paramiko.Transport, credentials: Credentials) -> None:
    user = location.user or getpass.getuser()
    tried: list[str] = []
    try:
        for label, key in _keys(location, credentials, tried):
            try:
                transport.auth_publickey(user, key)
            except paramiko.AuthenticationException:
                tried.append(label)
            if transport.is_authenticated():
                return
        if credentials.password is not None:
            tried.append("the password")
            transport.auth_password(user, credentials.password.reveal())
        if transport.is_authenticated():
            return
    except paramiko.BadAuthenticationType as error:
        tried.append(f"the server only takes {', '.join(error.allowed_types)}")
    except paramiko.AuthenticationException:
        pass
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise UnavailableError(
            f"{location.host} broke off during the login of {user}: {describe(error)}", host=location.url
        ) from error
    raise PermissionDeniedError(
        f"{location.host} refused the login of {user} (tried: {', '.join(tried) or 'nothing, there is no agent and no key'}); "
        "check the user, and the credentials reference: agent, file:KEY or env:PREFIX",
        host=location.url,
    )


def _keys(location: Location, credentials: Credentials, tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    """The keys to offer, with names for people; what cannot be read by default is only noted in `tried`."""
    passphrase = credentials.passphrase.reveal() if credentials.passphrase else None
    if credentials.key_file:
        try:
            yield f"the key {credentials.key_file}", _load(Path(credentials.key_file).expanduser(), passphrase)
        except PermissionDeniedError as error:
            raise PermissionDeniedError(error.message, host=location.url) from error
        return
    if credentials.password is not None:
        return
    agent = paramiko.Agent()
    try:
        for key in agent.get_keys():
            yield f"the agent's key {key.comment or key.get_name()}", key
    finally:
        agent.close()
    if credentials.agent:
        return
    for name in DEFAULT_KEYS:
        path = Path("~/.ssh").expanduser() / name
        if path.is_file():
            try:
                yield f"the key {path}", _load(path, passphrase)
            except PermissionDeniedError as error:
                tried.append(error.message)


def _load(path: Path, passphrase: str | None) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(str(path), passphrase)
        except paramiko.PasswordRequiredException as error:
            raise PermissionDeniedError(
                f"the key {path} has a passphrase: load it into ssh-agent, or give PREFIX_PASSPHRASE beside PREFIX_KEY_FILE"
            ) from error
        except OSError as error:
            raise PermissionDeniedError(f"the key {path} cannot be read: {error.strerror}") from error
        except (paramiko.SSHException, ValueError, TypeError):
            continue  # a key of another kind, or a wrong passphrase: the readers do not tell these apart
    raise PermissionDeniedError(
        f"the key {path} cannot be used: "
        + ("the passphrase is wrong, or " if passphrase else "")
        + "it is not a private key of the kind ed25519, ecdsa or rsa"
    )
