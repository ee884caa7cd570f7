"""The operating system behind the host: folders reached without following links, durable publishing, error classes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from connectors.errors import (
    AlreadyExistsError,
    ConnectorError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import key_bytes

HANDLES = {os.open, os.stat, os.mkdir, os.rmdir, os.unlink, os.rename, os.readlink} <= os.supports_dir_fd
"""Folders are held by handle, so that nothing swapped behind our back is followed. Else (Windows) by path, checked on the way."""

_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK the open of a named pipe waits for its writer.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_ZEROS = bytes(1 << 16)
_PATIENCE = 200
"""Times ten milliseconds that a lock is waited for; it is held for three system calls, or left by a killed process."""
_HANDLE_PATHS = Path("/proc/self/fd").is_dir()


class Folder:
    """A folder below the root, or the root. Names are single segments; no method follows a link."""

    __slots__ = ("handle", "path")

    def __init__(self, path: str, handle: int | None) -> None:
        self.path = path
        self.handle = handle

    @classmethod
    def root(cls, path: str) -> Folder:
        """The root itself, the one place where links are followed: they are the person's own."""
        if HANDLES:
            return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        if not stat.S_ISDIR(Path(path).stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return cls(path, None)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def at(self, name: str) -> str:
        """What to call `name` together with `dir_fd=self.handle`."""
        return name if self.handle is not None else f"{self.path}/{name}"

    def full(self, name: str) -> str:
        """`name` for the calls that know no `dir_fd`."""
        if self.handle is not None and _HANDLE_PATHS:
            return f"/proc/self/fd/{self.handle}/{name}"
        return f"{self.path}/{name}"

    @property
    def itself(self) -> int | str:
        return self.path if self.handle is None else self.handle

    def lstat(self, name: str) -> os.stat_result:
        return os.stat(self.at(name), dir_fd=self.handle, follow_symlinks=False)

    def holds(self, name: str) -> bool:
        try:
            self.lstat(name)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """All names, those of folders with a slash after them."""
        with os.scandir(self.itself) as found:
            return [f"{item.name}/" if item.is_dir(follow_symlinks=False) else item.name for item in found]

    def is_empty(self) -> bool:
        with os.scandir(self.itself) as found:
            return next(found, None) is None

    def child(self, name: str) -> Folder:
        """The folder of that name. NotADirectoryError if it is something else, ELOOP if it is a link."""
        path = f"{self.path}/{name}"
        if HANDLES:
            try:
                return Folder(path, os.open(name, os.O_RDONLY | _FOLDER, dir_fd=self.handle))
            except NotADirectoryError:
                # What systems answer for a link differs; the caller must be able to tell.
                self._check_folder(name)
                raise
        self._check_folder(name)
        return Folder(path, None)

    def descend(self, names: Sequence[str], *, create: bool = False, mode: int = 0o777) -> Folder:
        """The folder below, component by component; a new handle even when there is nothing to descend."""
        folder = Folder(self.path, None if self.handle is None else os.dup(self.handle))
        for name in names:
            with folder:  # closed when the next one is open, or on the way out
                try:
                    below = folder.child(name)
                except FileNotFoundError:
                    if not create:
                        raise
                    with suppress(FileExistsError):  # another one made it in between
                        folder.make_folder(name, mode)
                    folder.sync()
                    below = folder.child(name)
            folder = below
        return folder

    def clear(self, name: str) -> None:
        """Remove what has that name, if anything; a folder that holds things raises."""
        try:
            self.remove_folder(name)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self.remove(name)

    def open_file(self, name: str) -> int:
        """For reading. ELOOP if it is a link, also where the system itself would follow it."""
        if not hasattr(os, "O_NOFOLLOW") and stat.S_ISLNK(self.lstat(name).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(self.at(name), _READ, dir_fd=self.handle)

    def open_partial(self, name: str) -> int:
        return os.open(self.at(name), _WRITE, dir_fd=self.handle)

    def create_file(self, name: str, mode: int) -> int:
        return os.open(self.at(name), _WRITE | os.O_CREAT | os.O_EXCL, mode, dir_fd=self.handle)

    def remove(self, name: str) -> None:
        os.unlink(self.at(name), dir_fd=self.handle)

    def make_folder(self, name: str, mode: int = 0o777) -> None:
        os.mkdir(self.at(name), mode, dir_fd=self.handle)

    def remove_folder(self, name: str) -> None:
        os.rmdir(self.at(name), dir_fd=self.handle)

    def sync(self) -> None:
        """Make names durable. Where a folder cannot be opened or synced (Windows, some network mounts) nobody can."""
        if self.handle is not None:
            with suppress(OSError):
                os.fsync(self.handle)
        elif sys.platform != "win32":
            with suppress(OSError):
                handle = os.open(self.path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def _check_folder(self, name: str) -> None:
        status = self.lstat(name)
        junction = getattr(status, "st_reparse_tag", 0) == 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT: a link of Windows
        code = errno.ELOOP if stat.S_ISLNK(status.st_mode) or junction else errno.ENOTDIR
        if code == errno.ELOOP or not stat.S_ISDIR(status.st_mode):
            raise OSError(code, os.strerror(code))


def sync_file(handle: int) -> None:
    """Bytes and attributes on the disk itself; macOS keeps them in the drive's cache on a plain fsync."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def write_at(handle: int, data: bytes | memoryview, at: int, *, holes: bool) -> None:
    """Write all of `data` at the offset. With `holes`, zeros are left out where zeros are read already."""
    if not holes:
        _write_all(handle, memoryview(data), at)
        return
    for start in range(0, len(data), len(_ZEROS)):
        piece = bytes(data[start : start + len(_ZEROS)])
        if not (_is_zero(piece) and _is_zero(_read_at(handle, len(piece), at + start))):
            _write_all(handle, memoryview(piece), at + start)


def _is_zero(data: bytes) -> bool:
    return data == _ZEROS[: len(data)]


def _write_all(handle: int, data: memoryview, at: int) -> None:
    if sys.platform == "win32":
        os.lseek(handle, at, os.SEEK_SET)
    while data:
        written = os.write(handle, data) if sys.platform == "win32" else os.pwrite(handle, data, at)
        data = data[written:]
        at += written


def read_into(handle: int, buffer: memoryview) -> int:
    """Read where the handle stands, to the beginning of `buffer`."""
    if hasattr(os, "readv"):
        return os.readv(handle, [buffer])
    piece = os.read(handle, len(buffer))
    buffer[: len(piece)] = piece
    return len(piece)


def _read_at(handle: int, size: int, at: int) -> bytes:
    if sys.platform == "win32":
        os.lseek(handle, at, os.SEEK_SET)
        return os.read(handle, size)
    return os.pread(handle, size, at)


def publish(source: Folder, name: str, target: Folder, final: str, key: str, *, replace: bool) -> None:
    """`give_name`, durably."""
    give_name(source, name, target, final, key, replace=replace)
    target.sync()


def give_name(source: Folder, name: str, target: Folder, final: str, key: str, *, replace: bool) -> None:
    """Give the finished file `name` of `source` its name in `target`, at one stroke.

    Without `replace` FileExistsError if that name is taken, also under a race. All who publish one `key` share a lock in
    `source` where the file system has no hard links.
    """
    if replace:
        with suppress(FileNotFoundError, NotADirectoryError):
            target.remove_folder(final)  # an empty folder gives way; one that holds things raises
        os.replace(source.at(name), target.at(final), src_dir_fd=source.handle, dst_dir_fd=target.handle)
    elif sys.platform == "win32":
        Path(source.at(name)).rename(target.at(final))  # refuses there to replace
    else:
        try:
            os.link(
                source.at(name),
                target.at(final),
                src_dir_fd=source.handle,
                dst_dir_fd=target.handle,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}:
                raise
            _rename_alone(source, name, target, final, _lock_name(key))
        else:
            source.remove(name)


def _lock_name(key: str) -> str:
    return f"lock-{hashlib.sha256(key_bytes(key)).hexdigest()}"


def _rename_alone(source: Folder, name: str, target: Folder, final: str, lock: str) -> None:
    for left in reversed(range(_PATIENCE)):
        try:
            os.close(source.create_file(lock, 0o600))
            break
        except FileExistsError as error:
            if not left:
                raise BlockingIOError(errno.EAGAIN, "another run is publishing this key") from error
            time.sleep(0.01)
    try:
        if target.holds(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(source.at(name), target.at(final), src_dir_fd=source.handle, dst_dir_fd=target.handle)
    finally:
        source.remove(lock)


_DENIED = "access is denied; check the owner and mode of the file and of the folders above it"
_MEANING: dict[str, tuple[type[ConnectorError], str]] = {
    "ENOENT": (NotFoundError, "no such object"),
    "ENOTDIR": (NotFoundError, "no such object: a file stands where its folder would be"),
    "EEXIST": (AlreadyExistsError, "something is there already"),
    "ENOTEMPTY": (AlreadyExistsError, "a folder that holds things is there already"),
    "EISDIR": (AlreadyExistsError, "a folder is there already"),
    "EACCES": (PermissionDeniedError, _DENIED),
    "EPERM": (PermissionDeniedError, _DENIED),
    "EROFS": (PermissionDeniedError, "the file system is mounted read-only; mount it for writing"),
    "ENOSPC": (FullError, "no space is left on the file system; free some, or choose another place"),
    "EDQUOT": (FullError, "the disk quota is used up; have it raised, or choose another place"),
    "EFBIG": (FullError, "the file system or the process's limit has no room for a file of this size"),
    "ELOOP": (InvalidKeyError, "a link stands in the path, and links are never followed"),
    "ENAMETOOLONG": (InvalidKeyError, "the name is too long for this file system; rename it at the source"),
    "EINVAL": (InvalidKeyError, "the file system refuses this name; rename it at the source"),
    "EILSEQ": (InvalidKeyError, "the file system refuses the bytes of this name; rename it at the source"),
    "EXDEV": (UnsupportedError, "another file system is mounted below the root; make it a place of its own"),
    "ENOTSUP": (UnsupportedError, "the file system cannot do that"),
    "EOPNOTSUPP": (UnsupportedError, "the file system cannot do that"),
    "ENOSYS": (UnsupportedError, "the file system cannot do that"),
    "ENXIO": (UnsupportedError, "not a regular file"),
    "EIO": (UnavailableError, "the disk or the network mount failed; check it, then run again"),
    "ESTALE": (UnavailableError, "the network mount lost the file; run again"),
    "ETIMEDOUT": (UnavailableError, "the network mount does not answer; run again"),
    "EAGAIN": (UnavailableError, "another run is busy with the same object; run again"),
    "EBUSY": (UnavailableError, "the file is in use; run again"),
    "EMFILE": (
        UnavailableError,
        "this process has too many files open; raise its limit (ulimit -n) or use fewer workers",
    ),
    "ENFILE": (UnavailableError, "the machine has too many files open; run again"),
    "ENOMEM": (UnavailableError, "the machine is out of memory; run again"),
}
_MEANINGS = {getattr(errno, name): meaning for name, meaning in _MEANING.items() if hasattr(errno, name)}


@contextmanager
def translated(host: str, key: str | None) -> Iterator[None]:
    """The one place where the system's errors become ours. The cause leaves out the path, which is personal."""
    try:
        yield
    except OSError as error:
        kind, words = _MEANINGS.get(error.errno or 0, (ConnectorError, "the file system refused"))
        cause = f"{errno.errorcode.get(error.errno or 0, 'OSError')}: {error.strerror or type(error).__name__}"
        raise kind(words, host=host, key=key, cause=cause) from error
