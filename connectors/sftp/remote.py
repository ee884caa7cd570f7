"""The root folder of a place as one channel sees it: paths, the folders on the way, the partial files."""

from __future__ import annotations

import contextlib
import posixpath
import stat
import struct
from collections.abc import Sequence

from connectors.entry import Entry
from connectors.errors import AlreadyExistsError, InvalidKeyError, NotFoundError
from connectors.keys import PARTIAL_FOLDER, key_bytes
from connectors.sftp import listing
from connectors.sftp import wire as sftp
from connectors.sftp.wire import StatusError, Wire

_CREATE = sftp.FLAG_WRITE | sftp.FLAG_CREATE | sftp.FLAG_EXCLUSIVE

_TRIES = 10


class Remote:
    """Helpers over a Wire. They raise StatusError and what breaks a channel; the connector translates.

    Methods named ask_… send and return the number of the request; the others wait.
    """

    def __init__(self, wire: Wire, host: str, path: str) -> None:
        self.wire = wire
        self._host = host
        self.root = _find_root(wire, path)
        # Servers in front of a store (rclone, gateways) take a mode or a link and keep neither; this extension tells
        # them from servers that stand on a file system.
        self.on_file_system = sftp.FSYNC in wire.extensions

    def path(self, key: str | bytes) -> bytes:
        name = key_bytes(key) if isinstance(key, str) else key
        return self.root + b"/" + name if name else self.root or b"/"

    def partial(self, name: str) -> bytes:
        if not name or "/" in name or name in {".", ".."}:
            raise NotFoundError("there is no upload with this token", host=self._host)
        return self.path(f"{PARTIAL_FOLDER}/{name}")

    def ask(self, kind: int, *names: bytes) -> int:
        """A request whose arguments are all strings."""
        return self.wire.submit(kind, *map(sftp.text, names))

    def do(self, kind: int, *names: bytes) -> None:
        self.wire.status(self.ask(kind, *names))

    # --- folders on the way ------------------------------------------------------------------------------------------

    def ask_parents(self, key: str) -> list[int]:
        """Ask what each folder above a key is. Every time anew: a link may have taken a folder's place."""
        return [self.ask(sftp.LSTAT, path) for path in self._parents(key)]

    def check_parents(self, key: str, parents: list[int]) -> None:
        """NotFoundError if a folder on the way is missing, InvalidKeyError if it is a link."""
        waiting = iter(parents)
        try:
            for number in waiting:
                mode = self.wire.attributes(number).mode
                if mode is not None and stat.S_ISLNK(mode):
                    raise InvalidKeyError(
                        "a folder on the way is a link, and links are not followed", host=self._host, key=key
                    )
                if mode is not None and not stat.S_ISDIR(mode):
                    raise NotFoundError("a file stands where a folder would have to be", host=self._host, key=key)
        except StatusError as error:
            if error.code == sftp.NO_SUCH_FILE:
                raise NotFoundError("there is no such file or folder", host=self._host, key=key) from error
            raise
        finally:
            self.wire.forget(*waiting)

    def make_parents(self, key: str) -> None:
        try:
            self.check_parents(key, self.ask_parents(key))
        except NotFoundError:
            self.make_folder(self.root, key)
            for path in self._parents(key):
                self.make_folder(path, key)

    def make_folder(self, path: bytes, key: str | None = None, *, mode: int | None = None) -> None:
        """mkdir -p. A folder that is there already is left as it is."""
        try:
            self.wire.status(self.wire.submit(sftp.MKDIR, sftp.text(path), sftp.changes(mode=mode)))
        except StatusError as error:
            if error.code == sftp.NO_SUCH_FILE and path.strip(b"/"):
                self.make_folder(posixpath.dirname(path), key)
                self.make_folder(path, key, mode=mode)
                return
            # Up to the root links are the user's choice; beneath it they are refused.
            look = sftp.STAT if len(path) <= len(self.root) else sftp.LSTAT
            try:
                found = self.wire.attributes(self.ask(look, path or b"/")).mode
            except StatusError:
                raise error from None
            if found is not None and not stat.S_ISDIR(found):
                raise InvalidKeyError(
                    "a file or a link stands where a folder is needed", host=self._host, key=key
                ) from error

    def check_free(self, key: str, there: int, replace: bool) -> bool:
        """Whether a thing stands at the key; AlreadyExistsError if it may not be replaced. `there` is an LSTAT."""
        try:
            found = self.wire.attributes(there)
        except StatusError as error:
            if error.code == sftp.NO_SUCH_FILE:
                return False
            raise
        if stat.S_ISDIR(found.mode or 0):
            raise AlreadyExistsError("a folder is there already", host=self._host, key=key)
        if not replace:
            raise AlreadyExistsError("something is there already", host=self._host, key=key)
        return True

    def describe(self, key: str, there: int) -> Entry:
        """The entry of a key from its LSTAT."""
        found = self.wire.attributes(there)
        target = None
        if stat.S_ISLNK(found.mode or 0):
            target = listing.link_target(self.wire, self.ask(sftp.READLINK, self.path(key)))
        return listing.describe(key, found, target)

    def prune(self, key: str) -> None:
        """Remove the folders above a key that hold nothing now: they are no things of their own."""
        with contextlib.suppress(StatusError):
            for path in reversed(self._parents(key)):
                self.do(sftp.RMDIR, path)

    def free(self) -> int | None:
        """Bytes that can still be written beneath the root, None if the server does not say."""
        path = self.path("")
        while sftp.STATVFS in self.wire.extensions:
            try:
                reply = self.wire.extended(self.ask(sftp.EXTENDED, sftp.STATVFS, path))
            except StatusError as error:
                if error.code != sftp.NO_SUCH_FILE or not path.strip(b"/"):
                    break
                path = posixpath.dirname(path)  # the root is not made yet: its parent has the same room
            else:
                _, fragment, _, _, available = struct.unpack_from(">5Q", reply)
                return int(fragment * available)
        return None

    # --- partial files -----------------------------------------------------------------------------------------------

    def ask_partial(self, name: str, flags: int = _CREATE) -> int:
        return self.wire.submit(sftp.OPEN, sftp.text(self.partial(name)), flags.to_bytes(4, "big"), sftp.changes())

    def create_partial(self, name: str) -> bytes:
        """The handle of a new partial file, its folder made first."""
        for left in reversed(range(_TRIES)):
            try:
                self.make_partial_folder()
                return self.wire.handle(self.ask_partial(name))
            except StatusError as error:
                # Another instance that ends removes the folder if it is empty, perhaps just now.
                if not left or error.code not in {sftp.NO_SUCH_FILE, sftp.FAILURE}:
                    raise
        raise AssertionError("unreachable")

    def make_partial_folder(self) -> None:
        self.make_folder(self.root)
        self.make_folder(self.path(PARTIAL_FOLDER), mode=0o700)

    def remove_partial_folder(self) -> None:
        """If it is empty; another instance that needs it makes it again."""
        with contextlib.suppress(StatusError):
            self.do(sftp.RMDIR, self.path(PARTIAL_FOLDER))

    def partials(self) -> Sequence[bytes]:
        try:
            handle = self.wire.handle(self.ask(sftp.OPENDIR, self.path(PARTIAL_FOLDER)))
        except StatusError as error:
            if error.code == sftp.NO_SUCH_FILE:
                return []
            raise
        found: list[bytes] = []
        while names := self.wire.names(self.ask(sftp.READDIR, handle)):
            found += [name for name, _ in names if name not in {b".", b".."}]
        self.do(sftp.CLOSE, handle)
        return found

    def _parents(self, key: str) -> list[bytes]:
        names = key_bytes(key).split(b"/")
        return [self.path(b"/".join(names[:count])) for count in range(1, len(names))]


def _find_root(wire: Wire, path: str) -> bytes:
    """The root without a trailing slash; b"" is "/". "", "/~" and "/~/x" start at the home folder."""
    beneath = path.removeprefix("/")
    if path and beneath != "~" and not beneath.startswith("~/"):
        return key_bytes(path).rstrip(b"/")
    home = wire.names(wire.submit(sftp.REALPATH, sftp.text(b".")))
    if not home:
        raise sftp.ProtocolError("the server does not tell the home folder")
    return (home[0][0].rstrip(b"/") + key_bytes(beneath.removeprefix("~"))).rstrip(b"/")
