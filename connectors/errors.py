"""What can go wrong at a host, classed by what the caller does next."""

from __future__ import annotations

from typing import Any


class ConnectorError(Exception):
    """A host did not do what was asked.

    `host` is the connector's `uri` (never credentials), `key` the thing it was about, `retryable` whether asking again
    can help, `retry_after` the seconds the host asked us to wait. The message says what happened, to what, and what the
    person can do about it. Survives pickling with its context; the foreign cause is kept as text in `cause`.
    """

    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        host: str = "",
        key: str | None = None,
        cause: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.key = key
        self.cause = cause
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.host, self.key, self.cause, self.retry_after))

    def __str__(self) -> str:
        return self.message


def _rebuild(
    kind: type[ConnectorError], message: str, host: str, key: str | None, cause: str | None, retry_after: float | None
) -> ConnectorError:
    return kind(message, host=host, key=key, cause=cause, retry_after=retry_after)


class LocationError(ConnectorError):
    """The url, an option or a credential reference is not one we understand: nothing was contacted."""


class NotFoundError(ConnectorError):
    """The thing, or the whole place, is not there."""


class AlreadyExistsError(ConnectorError):
    """Something is there already and replacing it was not asked for; the old content is intact."""


class PermissionDeniedError(ConnectorError):
    """The host knows who we are (or refuses to) and says no: credentials, rights, host key or certificate."""


class InvalidKeyError(ConnectorError):
    """The key cannot be held by this host, or would leave the root."""


class ChangedError(ConnectorError):
    """The thing is no longer what the entry described."""


class CorruptedError(ConnectorError):
    """Bytes are not what they must be: fewer than promised, more than announced, or another digest."""


class UnsupportedError(ConnectorError):
    """This host cannot do that at all."""


class ColdError(UnsupportedError):
    """The bytes are in a cold tier (S3 `InvalidObjectState`): they must be restored there before they can be read."""


class FullError(ConnectorError):
    """No space or quota left at the host."""


class UnavailableError(ConnectorError):
    """The host did not answer, answered too slowly, or asked to come back later: the one kind worth retrying."""

    retryable = True
