"""What botocore raises, in the words of this package: the one place where S3's errors are translated."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import botocore.exceptions as foreign
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ColdError,
    ConnectorError,
    CorruptedError,
    FullError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import file_path_problem

_CREDENTIALS = "check the credentials reference and the rights it has on this bucket"
_KINDS: dict[str, tuple[type[ConnectorError], str]] = {
    "NoSuchBucket": (NotFoundError, "there is no such bucket; check its name and the endpoint"),
    "NoSuchKey": (NotFoundError, "no such object"),
    "NoSuchVersion": (NotFoundError, "no such version of the object"),
    "NoSuchUpload": (NotFoundError, "the host knows no such upload (any more)"),
    "PermanentRedirect": (NotFoundError, "the bucket lives at another endpoint; give its endpoint= and region="),
    "InvalidBucketName": (LocationError, "this is no valid bucket name"),
    "InvalidAccessKeyId": (PermissionDeniedError, f"the host does not know this access key; {_CREDENTIALS}"),
    "SignatureDoesNotMatch": (PermissionDeniedError, f"the secret key is not the right one; {_CREDENTIALS}"),
    "ExpiredToken": (PermissionDeniedError, "the session token has expired; get a new one"),
    "InvalidToken": (PermissionDeniedError, "the session token is not valid; get a new one"),
    "RequestTimeTooSkewed": (
        PermissionDeniedError,
        "this machine's clock and the host's differ too much; set the clock",
    ),
    "AuthorizationHeaderMalformed": (PermissionDeniedError, "the host refused the signature; check region="),
    "AccessDenied": (PermissionDeniedError, f"the host refused; {_CREDENTIALS}"),
    "InvalidObjectState": (ColdError, "the object is in a cold tier; restore it at the host, then run again"),
    "PreconditionFailed": (AlreadyExistsError, "an object is there already"),
    "ConditionalRequestConflict": (UnavailableError, "another request was working on the same object"),
    "OperationAborted": (UnavailableError, "another request was working on the same object"),
    "InvalidRange": (ChangedError, "the object is shorter than it was when it was listed"),
    "QuotaExceeded": (FullError, "the quota at the host is used up; raise it or choose another place"),
    "InsufficientStorage": (FullError, "the host has no space left"),
    "XMinioStorageFull": (FullError, "the host has no space left"),
    "KeyTooLongError": (InvalidKeyError, "the host holds no key this long"),
    "XMinioInvalidObjectName": (InvalidKeyError, "the host refuses this key; rename it at the source, or exclude it"),
    "EntityTooLarge": (UnsupportedError, "the host holds no object this large"),
    "InvalidPart": (CorruptedError, "the host does not have a part that it acknowledged"),
    "InvalidPartOrder": (CorruptedError, "the host refused the order of the parts"),
    "BadDigest": (CorruptedError, "the bytes that arrived are not those that were sent"),
    "XAmzContentSHA256Mismatch": (CorruptedError, "the bytes that arrived are not those that were sent"),
    "IncompleteBody": (UnavailableError, "the request did not arrive whole"),
    "RequestTimeout": (UnavailableError, "the host waited too long for the request's body"),
    "SlowDown": (UnavailableError, "the host asks for fewer requests"),
    "Throttling": (UnavailableError, "the host asks for fewer requests"),
    "ThrottlingException": (UnavailableError, "the host asks for fewer requests"),
    "RequestLimitExceeded": (UnavailableError, "the host asks for fewer requests"),
    "TooManyRequests": (UnavailableError, "the host asks for fewer requests"),
    "NotImplemented": (UnsupportedError, "the host does not implement this request"),
    "MethodNotAllowed": (UnsupportedError, "the host does not allow this request here"),
}
_STATUSES: dict[int, tuple[type[ConnectorError], str]] = {
    401: _KINDS["AccessDenied"],
    403: _KINDS["AccessDenied"],
    404: (NotFoundError, "no such object or bucket"),
    405: _KINDS["MethodNotAllowed"],
    409: _KINDS["OperationAborted"],
    412: _KINDS["PreconditionFailed"],
    416: _KINDS["InvalidRange"],
    429: _KINDS["TooManyRequests"],
    501: _KINDS["NotImplemented"],
    507: _KINDS["InsufficientStorage"],
}


@contextmanager
def translated(host: str, key: str | None = None) -> Iterator[None]:
    """Whatever botocore or urllib3 raises inside leaves as a ConnectorError about this host and key."""
    try:
        yield
    except foreign.ClientError as error:
        raise _answered(error, host, key) from error
    except (foreign.BotoCoreError, ResponseParserError, HTTPError, OSError) as error:
        raise _unanswered(error, host, key) from error


def answered(answer: Mapping[str, Any], operation: str, host: str, key: str | None) -> ConnectorError:
    """The error that botocore's reading of an answer stands for."""
    cause = foreign.ClientError(dict(answer), operation)  # type: ignore[arg-type]  # the stubs want their own TypedDict
    error = _answered(cause, host, key)
    error.__cause__ = cause
    return error


def unreached(host: str, key: str | None, cause: str) -> UnavailableError:
    """The error of an exchange that brought no whole answer."""
    return UnavailableError("the connection broke or went silent", host=host, key=key, cause=cause)


def code_of(error: ConnectorError) -> str:
    """The host's own error code behind one of our errors, "" if there is none."""
    cause = error.__cause__
    return str(cause.response["Error"].get("Code", "")) if isinstance(cause, foreign.ClientError) else ""


def _answered(error: foreign.ClientError, host: str, key: str | None) -> ConnectorError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = str(error.response.get("Error", {}).get("Message", ""))
    about = error.response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    after = _seconds(about.get("HTTPHeaders", {}).get("retry-after", ""))
    if code in _KINDS:
        kind, message = _KINDS[code]
    elif status in _STATUSES:
        kind, message = _STATUSES[status]
    elif status == 400 and key is not None and (problem := file_path_problem(key)):
        # Hosts that keep objects as files say no more than "bad request", to HEAD not even that.
        kind, message = InvalidKeyError, f"the host refused the request, probably for the key: {problem}"
    elif status >= 500:
        kind, message = UnavailableError, "the host had a problem of its own"
    elif 300 <= status < 400:
        kind, message = _KINDS["PermanentRedirect"]
    else:
        kind, message = UnsupportedError, "the host refused the request"
    return kind(
        f"{message} ({error.operation_name}: {code or status})",
        host=host,
        key=key,
        cause=f"{status} {code}: {text}"[:300],
        retry_after=after,
    )


def _unanswered(error: BaseException, host: str, key: str | None) -> ConnectorError:
    cause = f"{type(error).__name__}{_reason(error)}"
    kind: type[ConnectorError]
    if isinstance(error, foreign.SSLError):
        kind, message = (
            PermissionDeniedError,
            f"the host's certificate is not trusted{_reason(error)}; if it is signed by an authority of your own, pass ca=PATH",
        )
    elif isinstance(error, (foreign.NoCredentialsError, foreign.PartialCredentialsError)):
        kind, message = (
            PermissionDeniedError,
            "no S3 credentials were found; pass env:PREFIX, profile:NAME, file:PATH or anonymous",
        )
    elif isinstance(error, (foreign.ProfileNotFound, foreign.CredentialRetrievalError, foreign.TokenRetrievalError)):
        kind, message = PermissionDeniedError, f"the credentials could not be loaded; {_CREDENTIALS}"
    elif isinstance(error, (foreign.InvalidRegionError, foreign.NoRegionError)):
        kind, message = LocationError, "this is no region; write region= as the host's documentation does"
    elif isinstance(error, foreign.ParamValidationError):
        kind, message = LocationError, "the request was refused before it was sent; check the name of the bucket"
    elif isinstance(error, foreign.FlexibleChecksumError):
        kind, message = CorruptedError, "the bytes do not have the checksum that the host stated"
    elif isinstance(error, ResponseParserError):
        kind, message = UnavailableError, "the host's answer is unreadable or cut"
    elif isinstance(error, (foreign.EndpointConnectionError, foreign.ConnectTimeoutError)):
        kind, message = (
            UnavailableError,
            f"the host cannot be reached{_reason(error)}; check the endpoint and the network",
        )
    elif isinstance(error, (foreign.HTTPClientError, foreign.ConnectionError, foreign.IncompleteReadError, HTTPError)):
        kind, message = UnavailableError, f"the connection broke or went silent{_reason(error)}"
    elif isinstance(error, OSError):
        kind, message = UnavailableError, f"the connection broke{_reason(error)}"
    else:
        kind, message = UnsupportedError, "the request could not be made"
    return kind(message, host=host, key=key, cause=cause)


def _reason(error: BaseException) -> str:
    """The system's word for the innermost error, ": connection refused"; never the url, which holds the key."""
    seen: BaseException | None = error
    text = ""
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            text = re.sub(r"\s*\(_ssl\.c:\d+\)|^\[[^]]*\]\s*", "", seen.strerror)
        inner = getattr(seen, "kwargs", {}).get("error") or getattr(seen, "reason", None)
        seen = seen.__cause__ or seen.__context__ or (inner if isinstance(inner, BaseException) else None)
    return f": {text[:1].lower()}{text[1:]}" if text else ""


def _seconds(retry_after: str) -> float | None:
    """A Retry-After header, which is seconds or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
