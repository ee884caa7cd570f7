"""Files of evidence on disk: private while written, on stable storage before they get their name, never overwritten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def create_private(path: Path) -> BinaryIO:
    """A new file for its owner's eyes only (mode 0600 where there are modes); unfinished work of that name goes."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=1 << 18)


def publish(file: BinaryIO, part: Path, path: Path) -> None:
    """Close `file`, whose name is `part`, and give it the name `path`; FileExistsError if something has it."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    try:
        os.link(part, path)  # the one create-only rename of POSIX
    except FileExistsError:
        raise
    except OSError:  # no hard links there: exFAT, some network shares; Windows refuses to rename over a file by itself
        if path.exists():
            raise FileExistsError(f"{path} exists already") from None
        part.rename(path)
    else:
        part.unlink()
    _sync_folder(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """A whole small file, by the same rules."""
    part = path.with_name(f"{path.name}.part")
    with create_private(part) as file:
        file.write(data)
        publish(file, part, path)


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders; its journal orders the rename
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse
        pass
    finally:
        os.close(handle)
