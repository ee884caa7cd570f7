"""Where a place is: url, options and a *reference* to credentials. Plain data, picklable, safe to print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode, urlsplit

from connectors.errors import LocationError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: "C:\" is a drive, not a scheme
_SECRET_OPTION = re.compile(r"password|passwd|secret|token|access_?key|passphrase|credential|signature", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One place at one host.

    `host` is the bucket of an s3 url, the server of an sftp url, empty for files. `path` is decoded and exact: a prefix
    without leading slash for s3, an absolute path for sftp and file. `options` are the url's query parameters.
    """

    scheme: str
    host: str = ""
    user: str | None = None
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    credentials: str | None = None
    """A reference such as "env:OLD", never a secret."""

    @classmethod
    def parse(cls, text: str, *, credentials: str | None = None, options: Mapping[str, str] | None = None) -> Location:
        """A location from a url or a plain path. LocationError says what is wrong and how to write it.

        `options` are added to those of the url (a job file's table).
        """
        if not text.strip():
            raise LocationError("a location is empty; write a path or a url such as s3://bucket/prefix")
        if not _SCHEME.match(text):
            return cls(scheme="file", path=_absolute(text), options=dict(options or {}), credentials=credentials)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise LocationError(f"not a url: {error}") from error
        if parts.password is not None:
            raise LocationError(
                f"the url of {parts.scheme}://{parts.hostname or ''} carries a password; leave it out and pass a reference "
                "instead: --from-credentials/--to-credentials env:PREFIX, file:PATH, agent or prompt"
            )
        if parts.fragment:
            raise LocationError(f'"#" begins a fragment in {redact(text)}; write it as %23 if it belongs to the path')
        query: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if _SECRET_OPTION.search(name):
                raise LocationError(
                    f'the option "{name}" would put a secret in a url; pass a reference instead: '
                    "--from-credentials/--to-credentials env:PREFIX, profile:NAME or file:PATH"
                )
            if name in query:
                raise LocationError(f'the option "{name}" stands twice in the url')
            query[name] = value
        query.update(options or {})
        for name, value in query.items():
            if "://" in value and "@" in urlsplit(value).netloc:
                raise LocationError(
                    f'the option "{name}" carries a user or a password; leave it out and pass a reference instead: '
                    "--from-credentials/--to-credentials env:PREFIX, profile:NAME or file:PATH"
                )
        path = unquote_to_bytes(parts.path).decode("utf-8", "surrogateescape")
        scheme = parts.scheme.lower()
        host = (
            parts.netloc.rpartition("@")[2].rpartition(":")[0] if port is not None else parts.netloc.rpartition("@")[2]
        )
        if scheme == "file":
            if host not in {"", "localhost"}:
                raise LocationError(f"file:// urls have three slashes: file:///{host}{parts.path}")
            path = _absolute(path)
            host = ""
        return cls(
            scheme=scheme,
            host=host,
            user=unquote_to_bytes(parts.username).decode() if parts.username else None,
            port=port,
            path=path if scheme in {"file", "sftp"} else path.removeprefix("/"),
            options=query,
            credentials=credentials,
        )

    @property
    def url(self) -> str:
        """The canonical url: `parse` gives the same place again. Without credentials and without their reference."""
        path = quote(self.path.encode("utf-8", "surrogateescape"), safe="/~!$'()*,;:@+=&-._")
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        slash = "" if path.startswith("/") or not path else "/"
        query = f"?{urlencode(sorted(self.options.items()), safe='/:')}" if self.options else ""
        return f"{self.scheme}://{user}{self.host}{port}{slash}{path}{query}"

    def __str__(self) -> str:
        return self.url

    def option(self, name: str, default: str = "") -> str:
        return self.options.get(name, default)

    def check_options(self, known: Mapping[str, str]) -> None:
        """LocationError if an option is not among `known` (name -> help)."""
        for name in self.options:
            if name not in known:
                raise LocationError(
                    f'{self.scheme}: locations have no option "{name}"; known: {", ".join(sorted(known)) or "none"}',
                    host=self.url,
                )


def redact(text: str) -> str:
    """A url as typed, without what stands before an @ in its authority and without its query."""
    return re.sub(r"//[^/@]*@", "//…@", text.split("?", 1)[0])


def _absolute(path: str) -> str:
    expanded = Path(path).expanduser()
    # Not resolve(): a link in the path is the user's choice, and must be followed again on the day of the run.
    return (Path.cwd() / expanded).as_posix() if not expanded.is_absolute() else expanded.as_posix()
