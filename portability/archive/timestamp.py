"""RFC 3161: a time-stamping authority signs when a signature existed; only its hash leaves this machine.

The reply is kept as it came (`.sig.tsr`) with the authority's certificates (`.sig.crt`), for `openssl ts -verify`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portability.errors import EvidenceError, PlaceError, UsageError

_LONGEST = 1 << 20
"""Bytes of a reply; real ones have a few thousand."""
_GRANTED = frozenset({0, 1})  # granted, granted with modifications (RFC 3161, section 2.4.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A reply of the authority, its certificates in PEM, and the time it states."""

    reply: bytes
    certificates: bytes
    time: datetime


def _library() -> Any:
    try:
        return importlib.import_module("rfc3161_client")
    except ImportError as error:
        raise UsageError(
            "time stamps need the rfc3161-client package", hint="pip install 'portability-toolkit[timestamp]'"
        ) from error


def stamp(url: str, message: bytes, *, timeout: float = 30.0) -> Stamp:
    """Ask the authority at `url` (http or https: the reply is signed) to stamp a message.

    UsageError, PlaceError if it does not answer, EvidenceError if its answer is not about this message.
    """
    library = _library()
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(
            f'"{url}" is no address of a time-stamping authority', hint="it begins with https:// or http://"
        )
    request = library.TimestampRequestBuilder(data=message, hash_algorithm=library.HashAlgorithm.SHA256).build()
    asked = urllib.request.Request(  # noqa: S310 - the scheme was looked at above
        url, data=request.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:  # noqa: S310 - as above
            reply: bytes = answer.read(_LONGEST)
    except (urllib.error.URLError, OSError) as error:
        raise PlaceError(
            f"the time-stamping authority {urlsplit(url).hostname} does not answer: {getattr(error, 'reason', error)}",
            hint="run the same command again later, or leave the time stamp out",
        ) from error
    told = read(reply, message)
    if request.nonce != told.nonce:
        raise EvidenceError("the time-stamping authority answered another request: the nonce differs")
    return Stamp(reply=reply, certificates=told.certificates, time=told.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a reply says. The authority's signature over it is checked with `openssl ts -verify` against its roots."""

    time: datetime
    nonce: int | None
    certificates: bytes


def read(reply: bytes, message: bytes) -> Told:
    """The content of a reply about this very message; EvidenceError for a refusal, garbage, or another message."""
    library = _library()
    try:
        answer = library.decode_timestamp_response(reply)
    except (ValueError, TypeError) as error:
        # The library takes strict DER only; authorities that do not sort their certificates exist, OpenSSL's among them.
        told, imprint = _by_openssl(reply, str(error))
    else:
        status = int(answer.status)
        if status not in _GRANTED:
            raise EvidenceError(f"the time-stamping authority refused (status {status}: {answer.status_string})")
        info = answer.tst_info
        imprint = bytes(info.message_imprint.message)
        ders = sorted(bytes(der) for der in answer.signed_data.certificates)
        told = Told(time=info.gen_time, nonce=info.nonce, certificates=b"".join(map(_pem, ders)))
    if imprint not in {hashlib.sha256(message).digest(), hashlib.sha512(message).digest()}:
        raise EvidenceError("the time stamp is about another message")
    return told


def _by_openssl(reply: bytes, reason: str) -> tuple[Told, bytes]:
    """The same from the text that the `openssl` program prints of a reply: content and SHA of the message."""
    refused = EvidenceError(f"the time-stamping authority's reply is not one of RFC 3161: {reason}")
    program = shutil.which("openssl")
    if program is None:
        raise refused
    with tempfile.TemporaryDirectory(prefix="portability-") as folder:
        file = Path(folder, "reply")
        file.write_bytes(reply)
        text = _run(program, "ts", "-reply", "-in", str(file), "-text")
        token = _run(program, "ts", "-reply", "-in", str(file), "-token_out")
        certificates = _run(program, "pkcs7", "-inform", "DER", "-print_certs", stdin=token)
    lines = text.decode("utf-8", "replace").splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(": ") for line in lines)}
    digest = b"".join(
        bytes.fromhex(row[1].replace("-", " "))
        for row in (re.match(r"\s+[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", line) for line in lines)
        if row
    )
    try:
        moment = datetime.strptime(facts["Time stamp"].replace(" GMT", ""), "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        nonce = int(facts["Nonce"], 16) if facts.get("Nonce", "unspecified") != "unspecified" else None
    except (KeyError, ValueError) as error:
        raise refused from error
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", certificates, re.DOTALL)
    return Told(time=moment, nonce=nonce, certificates=b"".join(blocks)), digest


def _run(program: str, *words: str, stdin: bytes | None = None) -> bytes:
    return subprocess.run([program, *words], input=stdin, capture_output=True, check=False).stdout


def _pem(der: bytes) -> bytes:
    text = base64.encodebytes(der).replace(b"\n", b"")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"
