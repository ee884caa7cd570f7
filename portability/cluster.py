"""Many machines: a Dask scheduler's workers as an executor, looked at before they are trusted with a batch."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connectors import Location
from portability.errors import PlaceError, UsageError
from portability.parcel import Needs, Parcel, carry, needs, unfit

log = logging.getLogger(__name__)

_CONNECT_WITHIN = 20.0
_EXAMINE_WITHIN = 60.0
_EVERY = 1.0
"""Seconds between two looks at who is there."""
_PATIENCE = 600.0
"""Seconds without any worker after which a phase gives up: a cluster that grows on demand needs minutes."""
_FEW = 16
"""Batches under way at least: what a cluster that grows on demand sees of the demand."""
_TLS = {"ca": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}
_HOW_TO_WRITE = "write --engine dask://HOST:8786, or dask+tls://HOST:8786?ca=FILE&cert=FILE&key=FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Where a Dask scheduler listens. Without files, TLS takes its certificates from Dask's own configuration."""

    engine: str
    """As the person wrote it."""
    address: str
    """As Dask writes it."""
    files: tuple[tuple[str, str], ...] = ()
    """PEM files of `dask+tls://…?ca=FILE&cert=FILE&key=FILE`."""

    @property
    def encrypted(self) -> bool:
        return self.address.startswith("tls:")

    @classmethod
    def parse(cls, engine: str) -> Scheduler:
        """A scheduler from `dask://host:8786` or `dask+tls://host:8786`. UsageError."""
        try:
            parts = urlsplit(engine)
            port = parts.port or 8786
        except ValueError as error:
            raise UsageError(f'"{engine}" is not the address of an engine: {error}', hint=_HOW_TO_WRITE) from error
        files = dict(parse_qsl(parts.query))
        transports = {"dask": "tcp", "dask+tls": "tls"}
        if parts.scheme not in transports or not parts.hostname or parts.path.strip("/") or "@" in parts.netloc:
            raise UsageError(f'"{engine}" is not the address of an engine', hint=_HOW_TO_WRITE)
        if unknown := sorted(set(files) - set(_TLS)):
            raise UsageError(f'an engine has no option "{unknown[0]}"; known: {", ".join(_TLS)}', hint=_HOW_TO_WRITE)
        if files and parts.scheme == "dask":
            raise UsageError("certificates are for dask+tls://: dask:// is not encrypted", hint=_HOW_TO_WRITE)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            engine=engine, address=f"{transports[parts.scheme]}://{host}:{port}", files=tuple(sorted(files.items()))
        )


@contextlib.contextmanager
def connected(scheduler: Scheduler) -> Iterator[Any]:
    """A client of the scheduler. UsageError without Dask, PlaceError if no scheduler answers."""
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise UsageError("--engine dask:// needs Dask", hint="pip install 'portability-toolkit[dask]'") from error
    _calm()
    security = _security(scheduler, distributed)
    # Before a Client is made: one that cannot connect is not ended in good time.
    with ThreadPoolExecutor(1) as thread:  # the caller's may have an event loop of its own
        told = thread.submit(asyncio.run, _identity(distributed, scheduler, security)).result()
    if told.get("type") != "Scheduler":
        raise PlaceError(
            f"what answers at {scheduler.engine} is a Dask {str(told.get('type')).lower()}, not a scheduler",
            hint="name the address that `dask scheduler` prints",
        )
    client = distributed.Client(
        scheduler.address, timeout=_CONNECT_WITHIN, set_as_default=False, name="portability", security=security
    )
    try:
        yield client
    finally:
        client.close(timeout=5)


async def _identity(distributed: Any, scheduler: Scheduler, security: Any) -> dict[str, Any]:
    """What the address says of itself. PlaceError."""
    parts = urlsplit(scheduler.address)
    arguments = security.get_connection_args("client")
    try:
        async with asyncio.timeout(_CONNECT_WITHIN):
            _, probe = await asyncio.open_connection(parts.hostname, parts.port)  # Dask would try again for long
            probe.close()
            await probe.wait_closed()
            async with distributed.rpc(scheduler.address, timeout=_CONNECT_WITHIN, connection_args=arguments) as asked:
                told: dict[str, Any] = await asked.identity()
                return told
    except Exception as error:  # at a wrong address anything may answer, in any way
        raise PlaceError(
            f"no Dask scheduler answers at {scheduler.engine} ({str(error) or type(error).__name__})",
            hint="check the address and the network between, and that `dask scheduler` runs there, of a like version, "
            "with TLS if this says dask+tls, without if not",
        ) from error


def _security(scheduler: Scheduler, distributed: Any) -> Any:
    """TLS as the engine's address says, or else as Dask's own configuration does. UsageError."""
    for _, file in scheduler.files:
        if not Path(file).is_file():
            raise UsageError(f"{scheduler.engine}: there is no file {file}")
    security = distributed.Security(**{_TLS[name]: file for name, file in scheduler.files})
    if scheduler.encrypted and security.get_connection_args("client")["ssl_context"] is None:
        raise UsageError(
            f"{scheduler.engine}: neither the address nor Dask's configuration names certificates", hint=_HOW_TO_WRITE
        )
    return security


def _calm() -> None:
    # What happens to workers and schedulers is told in our own words.
    for name in ("distributed.client", "distributed.comm", "distributed.batched", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def examine(client: Any, wanted: Needs) -> None:
    """PlaceError naming the first worker that cannot take part. Workers that join later are looked at when they begin."""
    asked = {
        address: client.submit(unfit, wanted, workers=[address], allow_other_workers=False, pure=False)
        for address in client.nthreads()
    }
    deadline = time.monotonic() + _EXAMINE_WITHIN
    for address, answer in asked.items():
        try:
            problem = answer.result(timeout=max(0.1, deadline - time.monotonic()))
        except TimeoutError:
            continue  # a busy or paused worker: looked at with its first batch
        except ImportError as error:
            problem = f"it cannot load portability ({error}): install the same version on all machines"
        except CancelledError:
            continue  # it has gone
        if problem:
            raise PlaceError(
                f"the worker {address} cannot take part: {problem}",
                hint="mend that, or stop that worker, and run again",
            )


def on_dask(
    work: Callable[[Executor, int, Callable[[], int]], None],
    scheduler: Scheduler,
    places: tuple[Location, ...],
    *,
    limit: int,
    note: Callable[[str], None],
    patience: float = _PATIENCE,
) -> None:
    """Run `work(executor, shares, window)` on the workers of a cluster, which may come and go.

    A lost worker's batches run again on the others: Dask does that, up to its `allowed-failures`. That a batch may run twice
    is what create-only puts and adoption are for. PlaceError when the scheduler, or every worker for long, is gone.
    """
    with connected(scheduler) as client:
        wanted = needs(places)
        examine(client, wanted)
        crew = Crew(client, wanted, limit=limit, note=note, patience=patience)
        if not scheduler.encrypted and not _loopback(scheduler.address):
            note("dask:// is not encrypted: names and metadata (no contents) travel in clear; dask+tls:// is")
        try:
            with crew:
                work(crew, crew.workers, crew.window)
        except CancelledError as error:
            raise PlaceError(
                crew.given_up
                or f"the Dask scheduler at {scheduler.engine} has gone; everything done so far is on disk",
                hint="start it again, with its workers, then run the same command again to go on",
            ) from error
        except importlib.import_module("distributed").KilledWorker as error:
            raise PlaceError(
                "Dask workers keep dying over the same batch (killed for want of memory?); everything done so far is on disk",
                hint="give each worker more memory or fewer threads, then run the same command again to go on",
            ) from error
        except ImportError as error:
            raise PlaceError(
                f"a Dask worker cannot load portability: {error}",
                hint="install the same version on all machines, then run the same command again",
            ) from error


def _loopback(address: str) -> bool:
    return (urlsplit(address).hostname or "") in {"localhost", "127.0.0.1", "::1"}


class Crew(Executor):
    """The workers of a cluster as an executor; a thread watches who comes and goes."""

    def __init__(self, client: Any, wanted: Needs, *, limit: int, note: Callable[[str], None], patience: float) -> None:
        self._client, self._note, self._limit, self._patience = client, note, limit, patience
        self._inner = client.get_executor(pure=False)
        self._needs = pickle.dumps(replace(wanted, folders=tuple((folder, ()) for folder, _ in wanted.folders)))
        self._over = threading.Event()
        self._there: dict[str, int] = dict(client.nthreads())
        self.given_up = ""
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="dask-watch")

    @property
    def workers(self) -> int:
        """Worker processes now, which share the hosts' connections and the bandwidth."""
        return max(1, len(self._there))

    def window(self) -> int:
        """Batches under way: a few for each thread; as many as the hosts like where each worker has one operation at once."""
        if self.workers >= self._limit:
            return self._limit
        return max(_FEW, 4 * sum(self._there.values()))

    def __enter__(self) -> Crew:
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._inner.shutdown(wait=False)

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """One batch, which learns here how many workers share the hosts now."""
        (batch,) = arguments
        batch = replace(batch, work=replace(batch.work, shares=self.workers))
        future: Future[Any] = self._inner.submit(carry, Parcel(self._needs, pickle.dumps((work, batch))))
        return future

    def _watch(self) -> None:
        alone_since: float | None = None
        while not self._over.wait(_EVERY):
            try:
                there = dict(self._client.nthreads())
            except Exception as error:  # noqa: BLE001 - a scheduler that has gone: every future ends with that
                log.debug("the scheduler does not say who is there: %s", error)
                continue
            if lost := len(self._there.keys() - there.keys()):
                self._note(f"{lost} of the workers went away; what they held runs again ({len(there)} left)")
            self._there = there
            if there:
                alone_since = None
                continue
            if alone_since is None:
                alone_since = time.monotonic()
                self._note("no Dask worker is there; waiting for one")
            elif time.monotonic() - alone_since > self._patience:
                self.given_up = f"no Dask worker came for {self._patience:.0f} s; everything done so far is on disk"
                self._inner.shutdown(wait=False)
                return
