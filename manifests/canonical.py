"""The one byte form of a JSON value, of a text that may not be Unicode, and of a time (FORMAT.md, "Canonical form")."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from manifests.errors import FormatError

LARGEST = 2**53 - 1
"""Beyond it JavaScript rounds; larger numbers are decimal strings."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


def _integer(digits: str) -> int:
    if len(digits) > 17 or not -LARGEST <= (number := int(digits)) <= LARGEST:
        raise ValueError("a number beyond 2^53-1")
    return number


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number that is not an integer")


_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_decode = json.JSONDecoder(parse_float=_refuse, parse_int=_integer, parse_constant=_refuse).decode


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value built of dict, list, tuple, str, int, bool and None; FormatError for anything else."""
    _check(value)
    try:
        return _encode(value).encode()
    except UnicodeEncodeError as error:
        raise FormatError("a text is not valid Unicode", rule="3.2, the _b64 rule") from error


def spelled(value: Any) -> bytes:
    """As `dumps`, of a value made from JSON texts, without asking whether all of it has a canonical form: for lines that are
    read strictly before they count."""
    try:
        return _encode(value).encode()
    except ValueError as error:  # text that is not Unicode, or a number that is none
        raise FormatError("a value has no canonical form", rule="3.2") from error


def loads(data: bytes) -> Any:
    """The value with these canonical bytes; FormatError if they are not canonical.

    Comparing with the canonical form of the parse catches duplicate members, blanks, escapes and order at once.
    """
    try:
        value = _decode(data.decode())
        same = _encode(value).encode() == data
    except RecursionError as error:
        raise FormatError("nested too deeply", rule="3.2") from error
    except UnicodeEncodeError as error:
        raise FormatError("a lone surrogate", rule="3.2") from error
    except UnicodeDecodeError as error:
        raise FormatError("not valid UTF-8", rule="3.2") from error
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise FormatError(f"not canonical JSON: {reason}", rule="3.2") from error
    if not same:
        raise FormatError("not in canonical form", rule="3.2")
    return value


def load_object(data: bytes) -> dict[str, Any]:
    """As `loads`, for a JSON object."""
    value = loads(data)
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", rule="3.2")
    return value


def _check(value: Any) -> None:
    # json.dumps would write floats, turn other member names into text, and round nothing: it has to be asked not to.
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not -LARGEST <= value <= LARGEST:
            raise FormatError("a number beyond 2^53-1 is written as a decimal string", rule="3.2")
    elif kind is dict:
        for name, member in value.items():
            if type(name) is not str:
                raise FormatError("a member name is not text", rule="3.2")
            if type(member) is not str:
                _check(member)
    elif kind is list or kind is tuple:
        for member in value:
            _check(member)
    else:
        raise FormatError(f"{kind.__name__} has no canonical form", rule="3.2")


def text_members(name: str, text: str) -> dict[str, str]:
    """`{name}`, or `{name, name_b64}` for a text with bytes that are not UTF-8 (carried by surrogateescape)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise FormatError(f"{name} has a lone surrogate", rule="3.2, the _b64 rule") from error
        shown = data.decode("utf-8", "replace")
        if shown.encode() == data:  # escaped halves that make valid UTF-8 together
            return {name: shown}
        return {name: shown, f"{name}_b64": base64.b64encode(data).decode("ascii")}
    return {name: text}


def text_of(mapping: Mapping[str, Any], name: str) -> str:
    """The exact text that `text_members` wrote, with surrogateescape where it is not UTF-8; KeyError if it is absent."""
    shown = mapping[name]
    if not isinstance(shown, str):
        raise FormatError(f"{name} is not text", rule="3.2")
    if f"{name}_b64" not in mapping:
        return shown
    data = exact_bytes(mapping[f"{name}_b64"], f"{name}_b64")
    try:
        data.decode()
    except UnicodeDecodeError:
        if data.decode("utf-8", "replace") != shown:
            raise FormatError(f"{name} does not approximate {name}_b64", rule="3.2, the _b64 rule") from None
        return data.decode("utf-8", "surrogateescape")
    raise FormatError(f"{name}_b64 is valid UTF-8", rule="3.2, the _b64 rule")


def exact_bytes(spelled: Any, name: str) -> bytes:
    """The bytes of a standard base64 text in its only spelling."""
    if isinstance(spelled, str):
        try:
            data = base64.b64decode(spelled, validate=True)
        except (binascii.Error, ValueError):
            pass
        else:
            if base64.b64encode(data).decode("ascii") == spelled:
                return data
    raise FormatError(f"{name} is not standard base64", rule="3.2")


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`; milliseconds or microseconds only where there are some."""
    if moment.tzinfo is None:
        raise FormatError("a time without zone", rule="3.2, times")
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    digits = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=digits) + "Z"


def time_of(text: str) -> datetime:
    """The moment of an RFC 3339 text as `time_text` writes it; digits beyond microseconds are cut."""
    match = _TIME.fullmatch(text)
    if match:
        try:
            moment = datetime.fromisoformat(match[1])
        except ValueError:
            pass
        else:
            return moment.replace(microsecond=int((match[2] or "0").ljust(6, "0")[:6]), tzinfo=UTC)
    raise FormatError("not a time in UTC with Z", rule="3.2, times")
