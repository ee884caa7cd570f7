"""SSH connections: host keys checked, people recognised, one connection shared by the connectors of a process."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import getpass
import hashlib
import hmac
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import paramiko

from connectors.credentials import Credentials, resolve
from connectors.errors import LocationError, PermissionDeniedError, UnavailableError
from connectors.location import Location
from connectors.sftp.buffers import Pipe, Socket

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")  # one pass of the AES unit instead of AES and a MAC
_CHANNELS = 8
"""Per connection; OpenSSH refuses more than MaxSessions, 10 by default."""
_WINDOW = 1 << 26
_PACKET = 1 << 18
_KEEPALIVE = 30
_LOG = "connectors.sftp.transport"
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")

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
            sent = self._channel.send(bytes(view[:32704]))  # more than a packet holds would only be copied again
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


def seconds(location: Location) -> float:
    """The option `timeout`."""
    try:
        value = float(location.option("timeout", "60"))
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise LocationError("the option timeout is a number of seconds, such as timeout=60", host=location.url)
    return value


def describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _pool(location: Location) -> _Pool:
    # A forked child has the parent's sockets but not its threads: it connects anew.
    key = (
        os.getpid(),
        location.host,
        location.port,
        location.user,
        location.credentials,
        location.option("known_hosts"),
    )
    with _pools_lock:
        return _pools.setdefault(key, _Pool())


def _connect(location: Location) -> paramiko.Transport:
    host, port, timeout = location.host.strip("[]"), location.port or 22, seconds(location)
    known = list(_known_keys(location, host.lower() if port == 22 else f"[{host.lower()}]:{port}"))
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
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise UnavailableError(
                f"{host} port {port} did not begin an SSH conversation: {describe(error)}", host=location.url
            ) from error
        _check_host_key(location, transport.get_remote_server_key(), known)
        _authenticate(location, transport, credentials)
    except BaseException:
        transport.close()
        transport.sock.close()
        raise
    return transport


def _prefer(transport: paramiko.Transport, known: list[_Known]) -> None:
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: _CIPHERS.index(name) if name in _CIPHERS else 9)
    # The host is asked first for a key of a kind that we know: a host has several, and another one proves nothing to us.
    kinds = {"rsa-sha2" if one.kind == "ssh-rsa" else one.kind for one in known if not one.revoked}
    options.key_types = sorted(options.key_types, key=lambda name: not name.startswith(tuple(kinds)))


# --- host keys -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    kind: str
    data: bytes
    revoked: bool
    where: str


def _known_keys(location: Location, name: str) -> Iterator[_Known]:
    """The keys that known_hosts files hold for a name ("host" or "[host]:port")."""
    for path in _known_hosts(location):
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PermissionDeniedError(
                f"the known hosts in {path} cannot be read: {error}", host=location.url
            ) from error
        for number, line in enumerate(lines, 1):
            words = line.split()
            marker = words.pop(0) if words and words[0].startswith("@") else ""
            if (
                len(words) < 3
                or words[0].startswith("#")
                or marker not in {"", "@revoked"}
                or not _names(words[0], name)
            ):
                continue
            try:
                data = base64.b64decode(words[2], validate=True)
            except binascii.Error:
                continue
            yield _Known(kind=words[1], data=data, revoked=bool(marker), where=f"{path} line {number}")


def _known_hosts(location: Location) -> list[Path]:
    named = location.option("known_hosts")
    return (
        [Path(named).expanduser()]
        if named
        else [Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")]
    )


def _names(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in patterns[3:].split("|"))
        except (ValueError, binascii.Error):
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    found = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        literal = pattern.removeprefix("!").replace(
            "[", "[[]"
        )  # here brackets stand around a host, not a character set
        if fnmatch.fnmatchcase(name, literal):
            if negated:
                return False
            found = True
    return found


def _check_host_key(location: Location, key: paramiko.PKey, known: list[_Known]) -> None:
    data, kind = key.asbytes(), key.get_name()
    trusted = [one for one in known if not one.revoked]
    shown = f"{kind} {_fingerprint(data)}"
    if any(one.revoked and one.data == data for one in known):
        raise PermissionDeniedError(
            f"the key of {location.host} ({shown}) is revoked in your known hosts", host=location.url
        )
    if any(one.data == data for one in trusted):
        return
    where = _known_hosts(location)[0]
    name = (
        location.host.lower()
        if location.port in {None, 22}
        else f"[{location.host.strip('[]').lower()}]:{location.port}"
    )
    line = f"{name} {kind} {base64.b64encode(data).decode()}"
    if trusted:
        old = "; ".join(f"{one.kind} {_fingerprint(one.data)} ({one.where})" for one in trusted)
        raise PermissionDeniedError(
            f"THE HOST KEY OF {name} HAS CHANGED: it shows {shown}, known is {old}. Somebody may be listening in, or the "
            f"server was set up anew. Ask its operator; if the new key is right, replace the old line by: {line}",
            host=location.url,
        )
    raise PermissionDeniedError(
        f"the host key of {name} is not known: {shown}. Compare this fingerprint with the one its operator gives you; "
        f"if it is the same, add this line to {where}: {line}",
        host=location.url,
    )


def _fingerprint(data: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


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
    for name in _DEFAULT_KEYS:
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
