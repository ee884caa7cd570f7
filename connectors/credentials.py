"""Credentials: references that travel, secrets that are resolved where they are used and never printed.

A reference is one of

- none: the SDK's own chain for S3; ssh-agent and the default key files for SSH;
- `env:PREFIX`: PREFIX_ACCESS_KEY_ID, PREFIX_SECRET_ACCESS_KEY, PREFIX_SESSION_TOKEN, PREFIX_PASSWORD, PREFIX_KEY_FILE,
  PREFIX_PASSPHRASE in the environment;
- `profile:NAME`: a profile of the AWS shared configuration;
- `file:PATH`: a private key, or a TOML file with the same names in lower case; readable by its owner only;
- `agent`: ssh-agent and nothing else;
- `keyring:SERVICE`: the same names, from the system's keyring (package `keyring`);
- `prompt`: asked on the terminal, once, before the run;
- `anonymous`: unsigned S3 requests.
"""

from __future__ import annotations

import getpass
import importlib
import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.errors import LocationError, PermissionDeniedError

FIELDS = ("access_key_id", "secret_access_key", "session_token", "password", "key_file", "passphrase")
KINDS = ("env:PREFIX", "profile:NAME", "file:PATH", "agent", "keyring:SERVICE", "prompt", "anonymous")


class Secret:
    """A text that shows itself only on `reveal()`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret does not travel: send the reference and resolve it there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a reference resolved to. Absent fields: the reference does not give them."""

    reference: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    profile: str | None = None
    password: Secret | None = None
    key_file: str | None = None
    passphrase: Secret | None = None
    agent: bool = False
    anonymous: bool = False


def resolve(reference: str | None) -> Credentials:
    """The credentials behind a reference. LocationError for a reference we do not understand,
    PermissionDeniedError for one that cannot be read."""
    if reference is None:
        return Credentials()
    kind, _, rest = reference.partition(":")
    if kind == "env" and rest:
        found = {name: os.environ.get(f"{rest}_{name.upper()}") for name in FIELDS}
        if not any(found.values()):
            wanted = ", ".join(f"{rest}_{name.upper()}" for name in FIELDS)
            raise PermissionDeniedError(f"{reference}: none of {wanted} is set in the environment")
        return _build(reference, found.get)
    if kind == "profile" and rest:
        return Credentials(reference=reference, profile=rest)
    if kind == "file" and rest:
        return _from_file(reference, Path(rest).expanduser())
    if kind == "keyring" and rest:
        return _from_keyring(reference, rest)
    if reference == "agent":
        return Credentials(reference=reference, agent=True)
    if reference == "anonymous":
        return Credentials(reference=reference, anonymous=True)
    if reference == "prompt":
        raise LocationError("the reference prompt needs a person at a terminal; use env:, file: or keyring: here")
    raise LocationError(f'"{kind}" is not a kind of credentials reference; write one of {", ".join(KINDS)}')


def settle(reference: str | None, scheme: str, label: str) -> str | None:
    """Ask what a `prompt` reference wants and return a reference that worker processes can resolve.

    The answers go into this process's environment, which its workers inherit; any other reference is returned as it is.
    `label` says for which place we ask.
    """
    if reference != "prompt":
        return reference
    prefix = f"PORTABILITY_PROMPT_{scheme.upper()}_{abs(hash(label)) % 10**8}"
    if scheme == "s3":
        os.environ[f"{prefix}_ACCESS_KEY_ID"] = getpass.getpass(f"access key id for {label}: ")
        os.environ[f"{prefix}_SECRET_ACCESS_KEY"] = getpass.getpass(f"secret access key for {label}: ")
    else:
        os.environ[f"{prefix}_PASSWORD"] = getpass.getpass(f"password for {label}: ")
    return f"env:{prefix}"


def _from_file(reference: str, path: Path) -> Credentials:
    try:
        status = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermissionDeniedError(f"{reference} cannot be read: {error}") from error
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionDeniedError(f"{reference} can be read by others; run: chmod 600 {path}")
    if text.startswith("-----BEGIN"):
        return Credentials(reference=reference, key_file=str(path))
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's message may quote the line, and the line may be the secret.
        raise PermissionDeniedError(f"{reference} is neither a private key nor TOML ({type(error).__name__})") from None
    unknown = sorted(set(values) - set(FIELDS))
    if unknown or not values:
        raise PermissionDeniedError(
            f"{reference} must hold some of {', '.join(FIELDS)}; not {', '.join(unknown) or 'nothing'}"
        )
    return _build(reference, lambda name: str(values[name]) if name in values else None)


def _from_keyring(reference: str, service: str) -> Credentials:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise PermissionDeniedError(
            f"{reference} needs the keyring package: pip install 'portability-toolkit[keyring]'"
        ) from error
    try:
        found = {name: keyring.get_password(service, name) for name in FIELDS}
    except Exception as error:
        raise PermissionDeniedError(f"{reference}: the keyring refused ({type(error).__name__})") from error
    if not any(found.values()):
        raise PermissionDeniedError(f"{reference}: the keyring holds none of {', '.join(FIELDS)} for this service")
    return _build(reference, found.get)


def _build(reference: str, get: Callable[[str], str | None]) -> Credentials:
    def secret(name: str) -> Secret | None:
        text = get(name)
        return Secret(text) if text else None

    return Credentials(
        reference=reference,
        access_key_id=get("access_key_id"),
        secret_access_key=secret("secret_access_key"),
        session_token=secret("session_token"),
        password=secret("password"),
        key_file=get("key_file"),
        passphrase=secret("passphrase"),
    )
