"""Which keys a server is known by: known_hosts files, and what is said of a key that is not in them."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import PermissionDeniedError
from connectors.location import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One line of a known_hosts file."""

    kind: str
    data: bytes
    revoked: bool
    where: str


def known_keys(location: Location) -> Iterator[Known]:
    """The keys that known_hosts files hold for the location's server."""
    host, port = location.host.strip("[]").lower(), location.port or 22
    name = host if port == 22 else f"[{host}]:{port}"
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
            yield Known(kind=words[1], data=data, revoked=bool(marker), where=f"{path} line {number}")


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


def check_host_key(location: Location, kind: str, data: bytes, known: list[Known]) -> None:
    """PermissionDeniedError unless the key that the server showed is known and not revoked."""
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
