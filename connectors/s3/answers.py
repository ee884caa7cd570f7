"""Answers that came over libcurl, in the words of botocore: its own models say which header and element means what."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.utils import parse_timestamp

from connectors.s3.wire import Answer

_META = "x-amz-meta-"
_PARSER = create_parser("rest-xml")
_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


class Reader:
    """What the answers and requests of one service mean."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._parsed = lru_cache(maxsize=256)(self._parse)
        asked = model.operation_model("PutObject").input_shape
        self._sent: dict[str, str] = {
            name: shape.serialization["name"]
            for name, shape in (asked.members if asked else {}).items()
            if shape.serialization.get("location") == "header"
        }
        told = model.operation_model("HeadObject").output_shape
        self._told: dict[str, tuple[str, Callable[[str], Any] | None]] = {
            shape.serialization["name"].lower(): (name, _VALUES.get(shape.type_name))
            for name, shape in (told.members if told else {}).items()
            if shape.serialization.get("location") == "header"
        }

    def head(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """What botocore makes of the headers of HEAD, or of GET. ValueError if one is not what it must be."""
        head: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        for name, text in headers.items():
            told = self._told.get(name)
            if told is not None:
                member, value = told
                head[member] = text if value is None else value(text)
            elif name.startswith(_META):
                metadata[name[len(_META) :]] = text
        if "expires" in headers:
            head["ExpiresString"] = headers["expires"]
        head["Metadata"] = metadata
        return head

    def headers(self, parameters: Mapping[str, Any]) -> list[str] | None:
        """The headers of a put with these parameters of PutObject; None if libcurl might sign one in another form."""
        pairs = [(f"{_META}{name}", value) for name, value in parameters.get("Metadata", {}).items()]
        for name, value in parameters.items():
            if name != "Metadata":
                pairs.append(("Expires" if name == "ExpiresText" else self._sent[name], value))
        if any(not value or "  " in value for _, value in pairs):
            return None
        return [f"{name}: {value}" for name, value in pairs]

    def query(self, operation: str, parameters: Mapping[str, str]) -> str:
        """The query of a listing with these parameters, as botocore would write it."""
        asked = self._model.operation_model(operation.title().replace("_", ""))
        fixed = asked.http["requestUri"].partition("?")[2]
        members = asked.input_shape.members if asked.input_shape else {}
        pairs = {members[name].serialization["name"]: value for name, value in parameters.items()}
        # libcurl signs a name without a value as it is written: with the equals sign.
        return "&".join(
            [
                fixed if "=" in fixed or not fixed else f"{fixed}=",
                urlencode(pairs, quote_via=quote, errors="surrogateescape"),
            ]
        ).strip("&")

    def body(self, operation: str, answer: Answer) -> dict[str, Any] | None:
        """An XML answer as botocore reads it; None unless it is one, and says so with 200."""
        if (
            answer.status != 200
            or answer.broken
            or "etag" in answer.headers
            or not answer.body.lstrip().startswith(b"<")
        ):
            return None
        found = self._parsed(operation, answer.body)
        return found if "Error" not in found else None

    def problem(self, answer: Answer) -> dict[str, Any]:
        """An error answer as botocore reads it."""
        return self._parsed_with("HeadObject", answer.status, answer.headers, answer.body)

    def _parse(self, operation: str, body: bytes) -> dict[str, Any]:
        return self._parsed_with(operation, 200, {}, body)

    def _parsed_with(self, operation: str, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        shape = self._model.operation_model(operation).output_shape
        if shape is None:
            return {}
        answer = {
            "status_code": status,
            "headers": dict(headers),
            "body": body,
            "context": {"operation_name": operation},
        }
        found: dict[str, Any] = _PARSER.parse(answer, shape)
        return found


def checksum_differs(answer: Answer) -> bool:
    """Whether the host stated a checksum of the whole body that the body has not."""
    for name, digest in _CHECKSUMS.items():
        stated = answer.headers.get(name, "")
        if stated and "-" not in stated and base64.b64encode(digest(answer.body)).decode() != stated:
            return True
    return False


def crc32(body: bytes) -> str:
    """The header of the checksum that botocore sends where it sends one."""
    return f"x-amz-checksum-crc32: {base64.b64encode(_CHECKSUMS['x-amz-checksum-crc32'](body)).decode()}"


@lru_cache(maxsize=1024)
def _moment(text: str) -> datetime:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:  # a date of the other form
        moment = None
    return moment if moment is not None and moment.tzinfo else parse_timestamp(text)


_VALUES: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "long": int,
    "boolean": lambda text: text.lower() == "true",
    "timestamp": _moment,
}
