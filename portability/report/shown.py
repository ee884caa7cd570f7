"""Urls as a person reads them."""

from __future__ import annotations

from urllib.parse import unquote

from connectors import Location, LocationError
from portability.outcome import printable


def place(url: str) -> str:
    """A url without its options, but for the service's address: `s3://cabinet (https://s3.old.example)`; a folder as a path."""
    base = url.partition("?")[0]
    if base.startswith("file:///"):
        return printable(unquote(base.removeprefix("file://")))
    try:
        endpoint = Location.parse(url).option("endpoint")
    except LocationError:
        endpoint = ""
    return printable(f"{base} ({endpoint})" if endpoint else base)
