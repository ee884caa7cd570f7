"""What an sftp url may say besides the place: options, checked and with their defaults."""

from __future__ import annotations

import os

from connectors.errors import LocationError
from connectors.location import Location

OPTIONS = {
    "known_hosts": "a known_hosts file to use instead of ~/.ssh/known_hosts and the system's",
    "connections": "channels that the server likes at once; 8 if not given",
    "timeout": "seconds to wait for an answer; 60 if not given",
    "owner": "keep: give files their owner by number (needs the right to; else they belong to who logs in)",
    "links": "any: also write links that are absolute or lead out of the root",
    "transport": "ssh: the system's OpenSSH program; paramiko: without it; auto, if not given: ssh where it can log in alone",
}
_TRANSPORTS = ("auto", "ssh", "paramiko")


def check(location: Location) -> None:
    """LocationError for an option that is unknown or has no sense."""
    location.check_options(OPTIONS)
    connections(location)
    seconds(location)
    transport(location)
    if location.option("owner", "keep") != "keep":
        raise LocationError("the option owner is keep, or absent", host=location.url)


def connections(location: Location) -> int:
    try:
        value = int(location.option("connections", "8"))
    except ValueError:
        value = 0
    if value < 1:
        raise LocationError("the option connections is a whole number from 1", host=location.url)
    return value


def seconds(location: Location) -> float:
    """The option `timeout`."""
    try:
        value = float(location.option("timeout", "60"))
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise LocationError("the option timeout is a number of seconds, such as timeout=60", host=location.url)
    return value


def transport(location: Location) -> str:
    wanted = location.option("transport", _TRANSPORTS[0])
    if wanted not in _TRANSPORTS:
        raise LocationError(f"the option transport is one of {', '.join(_TRANSPORTS)}", host=location.url)
    return wanted


def identity(location: Location) -> tuple[object, ...]:
    """What decides whether two locations can share a connection."""
    # A forked child has the parent's sockets but not its threads: it connects anew.
    return (
        os.getpid(),
        location.host,
        location.port,
        location.user,
        location.credentials,
        location.option("known_hosts"),
    )
