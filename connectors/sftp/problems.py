"""What a server or a connection says, in our words: the one place where SFTP's errors are translated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from connectors.errors import (
    ConnectorError,
    CorruptedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.sftp import wire

BROKEN = (EOFError, OSError, wire.ProtocolError)
"""After one of these the channel is of no further use."""


def describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


@contextlib.contextmanager
def translated(host: str, key: str | None = None) -> Iterator[None]:
    """Turn what the wire raises into a ConnectorError about this host and key."""
    try:
        yield
    except wire.StatusError as error:
        raise _status(error, host, key) from error
    except wire.ProtocolError as error:
        raise CorruptedError(
            f"the server's answer is not SFTP: {error}", host=host, key=key, cause=str(error)
        ) from error
    except TimeoutError as error:
        raise UnavailableError(
            "the server did not answer in time; a longer wait is the option timeout=SECONDS",
            host=host,
            key=key,
            cause="timeout",
        ) from error
    except BROKEN as error:
        cause = describe(error)
        raise UnavailableError(f"the connection broke: {cause}", host=host, key=key, cause=cause) from error


def _status(error: wire.StatusError, host: str, key: str | None) -> ConnectorError:
    words = str(error)
    kind: type[ConnectorError] = ConnectorError
    message = f"the server failed and gives no reason ({words}); its log may say more"
    if error.code == wire.NO_SUCH_FILE:
        kind, message = NotFoundError, "there is no such file or folder"
    elif error.code == wire.PERMISSION_DENIED:
        kind, message = PermissionDeniedError, "the server denies permission; give its user the right to this path"
    elif error.code in {wire.NO_CONNECTION, wire.CONNECTION_LOST}:
        kind, message = UnavailableError, f"the server lost its connection: {words}"
    elif error.code == wire.UNSUPPORTED:
        kind, message = UnsupportedError, "the server does not support this operation"
    elif error.code == wire.BAD_MESSAGE:  # OpenSSH's answer to a name or a value that its file system does not take
        kind, message = InvalidKeyError, f"the server does not take this name: {words}"
    elif any(hint in words.lower() for hint in ("no space", "quota", "disk full")):
        kind, message = FullError, f"no room left at the server: {words}"
    return kind(message, host=host, key=key, cause=words)
