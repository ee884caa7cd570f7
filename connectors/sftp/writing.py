"""Putting things: written beside under another name, counted, synced, then given their name in one step."""

from __future__ import annotations

import contextlib
import secrets
import stat
from collections import deque
from collections.abc import Iterator

from connectors.entry import Entry, Posix
from connectors.errors import AlreadyExistsError, ConnectorError, CorruptedError, FullError, NotFoundError
from connectors.keys import key_bytes
from connectors.protocols import Stream
from connectors.sftp import wire as sftp
from connectors.sftp.pipeline import Steps
from connectors.sftp.place import Place, seconds_of
from connectors.sftp.remote import Remote
from connectors.sftp.wire import StatusError
from connectors.streams import blocks

_IN_FLIGHT = 1 << 22  # bytes sent and not yet confirmed


class Writing(Place):
    """What `put`, its bulk lane and parts are made of. Each method stops (`yield`) before it waits for answers."""

    def _put_object(self, entry: Entry, body: Stream, *, replace: bool) -> Steps[Entry]:
        name = secrets.token_hex(16)
        remote, handle = yield from self._create(entry, name, replace=replace)
        try:
            yield from self._write(entry, remote, handle, 0, body)
            return (yield from self._publish(entry, remote, handle, name, replace=replace))
        except BaseException:
            self._give_back(remote, handle, name)
            raise

    def _create(self, entry: Entry, name: str, *, replace: bool) -> Steps[tuple[Remote, bytes]]:
        """A new partial file, its handle; on the same trip the parents and what stands at the key are looked at."""
        self._left_partials = True
        with self._at(entry.key) as remote:
            parents, there = remote.ask_parents(entry.key), remote.ask(sftp.LSTAT, remote.path(entry.key))
            opening = remote.ask_partial(name)
        with self._at(entry.key, remote):
            try:
                yield
                with contextlib.suppress(NotFoundError):  # folders are made when there is something to put into them
                    remote.check_parents(entry.key, parents)
                remote.check_free(entry.key, there, replace)
            except BaseException:
                self._give_back(remote, opening, name)
                raise
            try:
                return remote, remote.wire.handle(opening)
            except StatusError as error:
                if error.code != sftp.NO_SUCH_FILE:
                    raise
            return remote, remote.create_partial(name)

    def _write(self, entry: Entry, remote: Remote, handle: bytes, offset: int, body: Stream) -> Steps[None]:
        """Send the body; every WRITE is answered well before this returns."""
        sent: deque[tuple[int, int]] = deque()
        in_flight = 0
        file, wire = sftp.text(handle), remote.wire
        for piece in blocks(body, entry, self._host, wire.longest_write):
            with self._writing(entry.key, remote):
                while sent and in_flight + len(piece) > _IN_FLIGHT:
                    number, size = sent.popleft()
                    wire.status(number)
                    in_flight -= size
                length = len(piece).to_bytes(4, "big")
                sent.append((wire.submit(sftp.WRITE, file, offset.to_bytes(8, "big"), length, piece), len(piece)))
            in_flight += len(piece)
            offset += len(piece)
        yield
        with self._writing(entry.key, remote):
            for number, _ in sent:
                wire.status(number)

    def _finish_writing(self, key: str, remote: Remote, handle: bytes) -> Steps[None]:
        with self._writing(key, remote):
            synced = remote.ask(sftp.EXTENDED, sftp.FSYNC, handle) if sftp.FSYNC in remote.wire.extensions else None
            closed = remote.ask(sftp.CLOSE, handle)
            yield
            if synced is not None:
                remote.wire.status(synced)
            remote.wire.status(closed)

    def _publish(self, entry: Entry, remote: Remote, handle: bytes, name: str, *, replace: bool) -> Steps[Entry]:
        """Sync, close, date, compare the size; then give the file its name, in one step that others cannot win."""
        yield from self._finish_writing(entry.key, remote, handle)
        with self._at(entry.key, remote):
            partial = remote.partial(name)
            # By name and after CLOSE: a server may work on the WRITEs of an open file in another order.
            dated = [remote.wire.submit(sftp.SETSTAT, sftp.text(partial), one) for one in self._wanted_of(entry)]
            written = remote.ask(sftp.LSTAT, partial)
            parents, there = remote.ask_parents(entry.key), remote.ask(sftp.LSTAT, remote.path(entry.key))
            yield
            for one in dated:
                with contextlib.suppress(StatusError):  # what was not kept is seen in the entry that we return
                    remote.wire.status(one)
            size = remote.wire.attributes(written).size
            if entry.size is not None and size != entry.size:
                raise CorruptedError(f"the server holds {size} of {entry.size} bytes", host=self._host, key=entry.key)
            try:
                remote.check_parents(entry.key, parents)
            except NotFoundError:
                remote.make_parents(entry.key)
            occupied = remote.check_free(entry.key, there, replace)
        return (yield from self._rename(entry.key, remote, name, replace=occupied))

    def _rename(self, key: str, remote: Remote, name: str, *, replace: bool) -> Steps[Entry]:
        """Give a finished partial its name; the entry of what is there then."""
        with self._at(key, remote):
            path, partial, aside = remote.path(key), remote.partial(name), None
            if replace and sftp.POSIX_RENAME in remote.wire.extensions:
                renamed = remote.ask(sftp.EXTENDED, sftp.POSIX_RENAME, partial, path)
            else:
                if replace:  # not in one step: the old content waits beside until the new one has the name
                    aside = remote.partial(secrets.token_hex(16))
                    remote.do(sftp.RENAME, path, aside)
                renamed = remote.ask(sftp.RENAME, partial, path)
            there = remote.ask(sftp.LSTAT, path)
            if aside is None:
                yield
            try:
                remote.wire.status(renamed)
            except StatusError as error:
                if aside is not None:
                    remote.do(sftp.RENAME, aside, path)
                elif error.code == sftp.FAILURE:
                    remote.check_free(key, there, replace=False)
                raise
            if aside is not None:
                remote.do(sftp.REMOVE, aside)
            return remote.describe(key, there)

    def _put_folder(self, entry: Entry, *, replace: bool) -> Entry:
        with self._at(entry.key) as remote:
            path = remote.path(entry.key)
            remote.make_parents(entry.key)
            try:
                remote.wire.status(remote.wire.submit(sftp.MKDIR, sftp.text(path), sftp.changes()))
            except StatusError as error:
                there = remote.wire.attributes(remote.ask(sftp.LSTAT, path))
                if not replace or not stat.S_ISDIR(there.mode or 0):
                    raise AlreadyExistsError("something is there already", host=self._host, key=entry.key) from error
            for one in self._wanted_of(entry):
                with contextlib.suppress(StatusError):  # seen in the entry that we return
                    remote.wire.status(remote.wire.submit(sftp.SETSTAT, sftp.text(path), one))
            return remote.describe(entry.key, remote.ask(sftp.LSTAT, path))

    def _put_link(self, entry: Entry, *, replace: bool) -> Steps[Entry]:
        target = key_bytes((entry.posix.target if entry.posix else None) or "")
        with self._at(entry.key) as remote:
            remote.make_parents(entry.key)
            path = remote.path(entry.key)
            occupied = remote.check_free(entry.key, remote.ask(sftp.LSTAT, path), replace)
            if not occupied:
                # OpenSSH has the arguments the other way round than the draft, and everybody follows OpenSSH.
                made, there = remote.ask(sftp.SYMLINK, target, path), remote.ask(sftp.LSTAT, path)
                try:
                    remote.wire.status(made)
                except StatusError as error:
                    if error.code == sftp.FAILURE:
                        remote.check_free(entry.key, there, replace=False)
                    raise
                return remote.describe(entry.key, there)
            name = secrets.token_hex(16)
            remote.make_partial_folder()
            self._left_partials = True
            remote.do(sftp.SYMLINK, target, remote.partial(name))
        return (yield from self._rename(entry.key, remote, name, replace=True))

    @contextlib.contextmanager
    def _writing(self, key: str, remote: Remote) -> Iterator[None]:
        try:
            with self._at(key, remote):
                yield
        except ConnectorError as error:
            # OpenSSH says no more than "Failure" when a disk is full.
            if type(error) is ConnectorError and self.free() == 0:
                raise FullError("no room left at the server", host=self._host, key=key, cause=error.cause) from error
            raise

    def free(self) -> int | None:
        with self._at(None) as remote:
            return remote.free()

    def _wanted_of(self, entry: Entry) -> Iterator[bytes]:
        """The attributes to set; a number that 32 bits do not hold is left out.

        The owner by itself, because servers refuse it to most, and first, because a change of it takes set-id bits away.
        Without the owner those bits would lend the rights of another than they did at the source.
        """
        posix = entry.posix or Posix()
        uid, gid, mode, mtime = map(_held, (posix.uid, posix.gid, posix.mode, seconds_of(entry)))
        if self._keeps_owner and uid is not None and gid is not None:
            yield sftp.changes(owner=(uid, gid))
        elif mode is not None:
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
        if mode is not None or mtime is not None:
            yield sftp.changes(mode=mode, mtime=mtime)


def _held(number: int | None) -> int | None:
    return number if number is not None and 0 <= number < 1 << 32 else None
