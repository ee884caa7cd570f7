"""The worker: a batch of tasks in, a result for each out. Everything that crosses is plain and picklable both ways."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from connectors import (
    AlreadyExistsError,
    ChangedError,
    ColdError,
    ConnectorError,
    CorruptedError,
    Describer,
    Entry,
    Location,
    NotFoundError,
    Stream,
)
from connectors.entry import to_dict
from connectors.streams import BytesStream
from manifests.canonical import time_text
from manifests.digests import Digesting
from manifests.receipt import new_salt
from portability.fidelity import Loss, losses, overlay
from portability.links import link, unlink
from portability.thing import dump, entry_of
from portability.throttle import Bucket, Throttled, Timetable

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

READ = 1 << 20
"""Bytes asked of a stream at once: large enough that no host's window runs dry between two reads."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to put. `path` is the destination's key."""

    id: int
    claim: str
    """What the census was told, as the ledger keeps it: the driver hands it on unread."""
    path: str
    by_content: str = ""
    """Instead of `path`: a folder in which the bytes stand under their own SHA-256."""
    elsewhere: Mapping[str, Any] | None = None
    """Where another archive holds the bytes that this thing had: they are read and compared, and put only if they differ."""
    overlay: Mapping[str, Any] = field(default_factory=dict)
    """Parked values from earlier evidence."""
    expect: str | None = None
    """SHA-256 that the bytes must have (earlier evidence knows them)."""
    replace: bool = False
    """An earlier run put an older content there: replace it."""
    replaces: str = ""
    """SHA-256 of that content: anything else there is somebody's work at the destination, and is never put over."""
    present: bool = False
    """The destination listed something there before the run: it is compared, and never put over."""
    settled: bool = False
    """In a chain: the run before has put this one."""

    @cached_property
    def entry(self) -> Entry:
        """The claim; its key is the source's."""
        return entry_of(self.claim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The versions and delete markers of one key, oldest first, for a destination that keeps versions."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start a large object: its parts follow as tasks of their own."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bytes [start, stop) of a large object; `entry` is its described entry."""

    id: int
    entry: Entry
    path: str
    token: str
    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Publish a large object whose parts are all there."""

    step: Step
    entry: Entry
    token: str
    tags: tuple[str, ...]


Task = Step | Chain | Begin | Part | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How tasks are done: the part of a policy that workers need."""

    retries: int = 5
    connections: int | None = None
    shares: int = 1
    """Worker processes that share the hosts' connections and the bandwidth."""
    bandwidth: Timetable = field(default_factory=Timetable)
    pause: float = 0.5
    """Seconds before the second try; doubled for each further one, with jitter, at most 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    source: Location
    destination: Location
    tasks: tuple[Task, ...]
    work: Work = Work()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The thing passed through us and the destination acknowledged it."""

    id: int
    facts: str
    """The described source entry, as the ledger keeps it."""
    size: int | None
    sha256: str | None
    """None for a large object: its parts are in the ledger, reading it back yields the whole."""
    losses: tuple[Loss, ...]
    attempts: int
    received_at: str
    salt: str
    adopted: bool = False
    """It was there already, with equal bytes."""
    path: str | None = None
    """Where it went, when only its bytes could tell."""
    stored: Mapping[str, Any] | None = None
    """Size and SHA-256 of what the destination wrote, where that is not what passed (a ciphertext)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The thing did not pass. `problem` names the error class; `refused` a reason when it is a refusal, not an error."""

    id: int
    problem: str
    message: str
    attempts: int = 1
    refused: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    id: int
    token: str
    part_size: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMoved:
    id: int
    number: int
    size: int
    sha256: str
    tag: str
    attempts: int


Answer = Moved | Failure | Begun | PartMoved


class DifferentContentError(ConnectorError):
    """The destination holds another content under this key."""

    def __init__(self, message: str = "", *, expected: str = "", found: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.expected, self.found = expected, found


def move(batch: Batch) -> list[Answer]:
    """Do the tasks of a batch, several at once, and answer each. Raises nothing that a host can cause.

    A connector that cannot be opened fails every task of the batch.
    """
    width = width_of(batch)
    answers = overlap(lambda task: _answer(task, batch), batch.tasks, width)
    return [answer for several in answers for answer in several]


def width_of(batch: Batch) -> int:
    """How many tasks run at once here: what both hosts like, shared with the other worker processes."""
    asked = batch.work.connections
    if asked is None:
        try:
            sides = (link(batch.source), link(batch.destination))
        except ConnectorError:
            return 1  # the tasks will meet the same error, and answer with it
        asked = min(side.capabilities.connections for side in sides)
    return max(1, -(-asked // batch.work.shares))


_threads: dict[int, ThreadPoolExecutor] = {}


def overlap(work: Callable[[Item], Result], items: Sequence[Item], width: int) -> list[Result]:
    """`work` over `items` in order, `width` at once, in threads that live as long as the process (so do their links)."""
    if width <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    pool = _threads.get(width)
    if pool is None:
        pool = _threads[width] = ThreadPoolExecutor(width, thread_name_prefix="worker")
    return list(pool.map(work, items))


_buckets: dict[tuple[Timetable, int], Bucket] = {}


def bucket_for(work: Work) -> Bucket | None:
    """This process's bucket for the policy's bandwidth; None where nothing is capped."""
    if not work.bandwidth.slots:
        return None
    return _buckets.setdefault((work.bandwidth, work.shares), Bucket(work.bandwidth, work.shares))


def _answer(task: Task, batch: Batch) -> list[Answer]:
    match task:
        case Chain():
            return _replay(task, batch)
        case Step():
            return [_settled(task.id, batch, lambda: _copy(task, batch))]
        case Begin():
            return [_settled(task.step.id, batch, lambda: _begin(task.step, batch))]
        case Part():
            return [_settled(task.id, batch, lambda: _part(task, batch))]
        case Finish():
            return [_settled(task.step.id, batch, lambda: _finish(task, batch))]


def _settled(number: int, batch: Batch, work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, tried again while the host says "ask again"; a Failure when it does not help."""
    tries = 0

    def counted() -> Answer:
        nonlocal tries
        tries += 1
        return work()

    try:
        answer = retrying(counted, batch.work, (batch.source, batch.destination))
    except DifferentContentError as error:
        return Failure(
            id=number,
            problem="AlreadyExists",
            message=str(error),
            attempts=tries,
            expected=error.expected,
            found=error.found,
        )
    except ColdError as error:
        return Failure(id=number, problem="Cold", message=str(error), attempts=tries, refused="cold")
    except ConnectorError as error:
        problem = type(error).__name__.removesuffix("Error")
        return Failure(id=number, problem=problem, message=str(error), attempts=tries)
    except Exception as error:  # one object's bug must not take the others with it; it is a failure, hence not proven
        log.exception("unexpected error in a worker")
        return Failure(id=number, problem=type(error).__name__, message=f"a bug: {error}", attempts=tries)
    return replace(answer, attempts=tries) if isinstance(answer, Moved | PartMoved) else answer


def retrying(
    work: Callable[[], Result],
    policy: Work,
    places: tuple[Location, ...],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Result:
    """The one retry loop: back-off with jitter, never shorter than the host's Retry-After. The last error passes."""
    for attempt in itertools.count(1):
        try:
            return work()
        except ConnectorError as error:
            if not error.retryable or attempt > policy.retries:
                raise
            if error.retry_after is None:
                for place in places:  # the connection may be what is broken
                    unlink(place)
            backoff = min(30.0, policy.pause * 2 ** (attempt - 1)) * jitter(0.5, 1.0)
            sleep(max(backoff, error.retry_after or 0.0))
    raise AssertionError("unreachable")


def described(source: Any, step: Step) -> Entry:
    """The source's full description of the very thing in the step; ChangedError if its size is not the census' any more."""
    entry: Entry = source.describe(step.entry) if isinstance(source, Describer) else step.entry
    if step.entry.size is not None and entry.size is not None and entry.size != step.entry.size:
        raise ChangedError(
            f"it has {entry.size} bytes now, {step.entry.size} at the census; run again to bring the new content over",
            host=source.uri,
            key=step.entry.key,
        )
    return entry


def _wanted(entry: Entry, step: Step) -> Entry:
    """What we ask of the destination: the source's attributes, parked ones put back, under the destination's key."""
    return replace(overlay(entry, step.overlay), key=step.path)


def _body(source: Any, entry: Entry, batch: Batch, start: int = 0, stop: int | None = None) -> Stream:
    body: Stream = source.open(entry, start, stop) if entry.kind == "object" else BytesStream()
    bucket = bucket_for(batch.work)
    return Throttled(body, bucket) if bucket else body


class _Expecting:
    """A stream that fails before its last byte if the bytes have not the digest that earlier evidence knows."""

    def __init__(self, body: Digesting, size: int | None, sha256: str, place: str, key: str) -> None:
        self._body, self._size, self._sha256, self._place, self._key = body, size, sha256, place, key

    def read(self, size: int = -1, /) -> bytes:
        piece = self._body.read(size)
        if (not piece or self._body.count == self._size) and self._body.sha256 != self._sha256:
            raise CorruptedError(
                "the source's bytes are not those that its evidence knows: damaged or changed since",
                host=self._place,
                key=self._key,
            )
        return piece

    def close(self) -> None:
        self._body.close()


def _copy(step: Step, batch: Batch) -> Moved:
    source, destination = link(batch.source), link(batch.destination)
    entry = described(source, step)
    if step.elsewhere or step.by_content:  # read twice: only when the bytes have passed is it known where they go
        digest, size = digest_of(_body(source, entry, batch))
        if step.elsewhere and step.elsewhere["sha256"] == digest:
            there = {name: step.elsewhere[name] for name in ("archive", "path")}
            wanted = _wanted(entry, step)
            return _moved(step, wanted, replace(wanted, host={**wanted.host, "stored": there}), size, digest)
    if step.by_content:
        step = replace(step, path=f"{step.by_content}/{digest[:2]}/{digest}", expect=step.expect or digest)
    wanted = _wanted(entry, step)
    may_replace = _may_replace(destination, step, batch)
    if (step.present or step.replaces) and not may_replace:
        try:
            return _adopt(source, destination, entry, wanted, step, batch)
        except NotFoundError:
            pass  # it went away since: there is nothing to put over
    try:
        stored, body = _put(
            source,
            entry,
            wanted,
            step,
            batch,
            lambda asked, stream: destination.put(asked, stream, replace=may_replace),
        )
    except AlreadyExistsError:
        return _adopt(source, destination, entry, wanted, step, batch)
    return _moved(step, wanted, stored, body.count, body.sha256)


def _put(
    source: Any, entry: Entry, wanted: Entry, step: Step, batch: Batch, put: Callable[[Entry, Stream], Entry]
) -> tuple[Entry, Digesting]:
    """One read of the source feeds the destination and the digest."""
    body = Digesting(_body(source, entry, batch))
    try:
        stream: Stream = body
        # What a source states and is true by its own capabilities, or what earlier evidence says, must hold before publishing.
        stated = entry.digests.get("sha256") if "sha256" in source.capabilities.digests else None
        expect = step.expect or stated
        if expect is not None and entry.kind == "object":
            stream = _Expecting(body, entry.size, expect, source.uri, entry.key)
        stored = put(wanted, stream)
    finally:
        body.close()
    if entry.kind == "object" and stored.size is not None and stored.size != body.count:
        raise CorruptedError(
            f"the destination says {stored.size} bytes after {body.count} were sent",
            host=batch.destination.url,
            key=step.path,
        )
    return stored, body


def _moved(step: Step, wanted: Entry, stored: Entry, size: int, sha256: str | None, *, adopted: bool = False) -> Moved:
    is_object = wanted.kind == "object"
    return Moved(
        id=step.id,
        facts=dump(replace(wanted, key=step.entry.key)),
        size=size if is_object else None,
        sha256=sha256 if is_object else None,
        losses=losses(wanted, stored),
        attempts=1,
        received_at=time_text(datetime.now(UTC)),
        salt=new_salt(),
        adopted=adopted,
        path=step.path if step.by_content else None,
        stored=stored.host.get("stored"),
    )


def _adopt(source: Any, destination: Any, entry: Entry, wanted: Entry, step: Step, batch: Batch) -> Moved:
    """Something is there already: equal content is adopted, different content is a failure with both digests."""
    stored: Entry = destination.stat(step.path)
    if stored.kind != wanted.kind:
        raise DifferentContentError(
            f"the destination holds a {stored.kind} there", expected=wanted.kind, found=stored.kind
        )
    if wanted.kind == "link" and (
        stored.posix is None or wanted.posix is None or stored.posix.target != wanted.posix.target
    ):
        raise DifferentContentError("the destination holds a link with another target there")
    if wanted.kind != "object":
        return _moved(step, wanted, stored, 0, None, adopted=True)
    mine = digest_of(_body(source, entry, batch))
    theirs = digest_of(_body(destination, stored, batch))
    if mine != theirs or (step.expect is not None and mine[0] != step.expect):
        raise DifferentContentError(
            "the destination holds another content under this key; move it away, or choose an empty destination",
            expected=mine[0],
            found=theirs[0],
        )
    return _moved(step, wanted, stored, mine[1], mine[0], adopted=True)


def _may_replace(destination: Any, step: Step, batch: Batch) -> bool:
    """Whether what stands at the step's path is what an earlier run put there, and may give way to the new content."""
    if not step.replace or not step.replaces:
        return step.replace
    try:
        there: Entry = destination.stat(step.path)
    except NotFoundError:
        return False
    return there.kind == "object" and digest_of(_body(destination, there, batch))[0] == step.replaces


def digest_of(body: Stream) -> tuple[str, int]:
    """SHA-256 in hex and size of what a stream gives; the stream is closed."""
    digesting = Digesting(body)
    try:
        while digesting.read(READ):
            pass
    finally:
        digesting.close()
    return digesting.sha256, digesting.count


def _replay(chain: Chain, batch: Batch) -> list[Answer]:
    """Put versions and markers in order. What an interrupted run has put already is compared and adopted."""
    first = chain.steps[0]
    answers: list[Answer] = []
    present: list[Entry] = []

    def listed() -> Answer:
        destination = link(batch.destination)
        found = [entry for entry in destination.list_versions(first.path) if entry.key == first.path]
        if len(found) > len(chain.steps):
            raise DifferentContentError(
                f"the destination holds {len(found)} versions under this key, the source {len(chain.steps)}",
                expected=str(len(chain.steps)),
                found=str(len(found)),
            )
        present[:] = reversed(found)
        return Failure(id=first.id, problem="", message="")

    obstacle = _settled(first.id, batch, listed)
    if isinstance(obstacle, Failure) and obstacle.problem:
        return [replace(obstacle, id=step.id) for step in chain.steps if not step.settled]
    for index, step in enumerate(chain.steps):
        if step.settled:
            continue
        there = present[index] if index < len(present) else None
        answer = _settled(step.id, batch, lambda step=step, there=there: _version(step, there, batch))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        answers.append(answer)
        if isinstance(answer, Failure):  # a gap in the history would be a lie: the later versions wait for this one
            rest = chain.steps[index + 1 :]
            message = "an older version of this key could not be put"
            answers += [Failure(id=late.id, problem="Blocked", message=message) for late in rest if not late.settled]
            break
    return answers


def _version(step: Step, there: Entry | None, batch: Batch) -> Moved:
    source, destination = link(batch.source), link(batch.destination)
    if step.entry.kind == "delete_marker":
        if there is not None and there.kind != "delete_marker":
            raise DifferentContentError("the destination's history of this key is another one")
        wanted = _wanted(step.entry, step)
        stored = there or destination.put_marker(wanted)
        return _moved(step, wanted, stored, 0, None, adopted=there is not None)
    entry = described(source, step)
    wanted = _wanted(entry, step)
    if there is not None:
        mine, theirs = digest_of(_body(source, entry, batch)), digest_of(_body(destination, there, batch))
        if there.kind != "object" or mine != theirs:
            raise DifferentContentError(
                "the destination's history of this key is another one", expected=mine[0], found=theirs[0]
            )
        stored = destination.describe(there) if isinstance(destination, Describer) else there
        return _moved(step, wanted, stored, mine[1], mine[0], adopted=True)
    stored, body = _put(source, entry, wanted, step, batch, destination.put_version)
    return _moved(step, wanted, stored, body.count, body.sha256)


def _begin(step: Step, batch: Batch) -> Begun | Moved:
    source, destination = link(batch.source), link(batch.destination)
    entry = described(source, step)
    wanted = _wanted(entry, step)
    if entry.size is None:
        return _copy(step, batch)
    if not _may_replace(destination, step, batch):
        try:
            destination.stat(step.path)
        except NotFoundError:
            pass
        else:
            return _adopt(source, destination, entry, wanted, step, batch)
    size = destination.part_size(entry.size)
    return Begun(id=step.id, token=destination.begin(wanted), part_size=size, facts=to_dict(entry))


def _part(part: Part, batch: Batch) -> PartMoved:
    source, destination = link(batch.source), link(batch.destination)
    body = Digesting(_body(source, part.entry, batch, part.start, part.stop))
    size = part.stop - part.start
    try:
        tag = destination.put_part(replace(part.entry, key=part.path), part.token, part.number, body, size)
    finally:
        body.close()
    if body.count != size:
        raise CorruptedError(f"a part gave {body.count} of {size} bytes", host=source.uri, key=part.entry.key)
    return PartMoved(id=part.id, number=part.number, size=size, sha256=body.sha256, tag=tag, attempts=1)


def _finish(task: Finish, batch: Batch) -> Moved:
    source, destination = link(batch.source), link(batch.destination)
    wanted = _wanted(task.entry, task.step)
    try:
        may_replace = _may_replace(destination, task.step, batch)
        stored = destination.finish(wanted, task.token, task.tags, replace=may_replace)
    except AlreadyExistsError:
        return _adopt(source, destination, task.entry, wanted, task.step, batch)
    if stored.size != task.entry.size:
        raise CorruptedError(
            f"the destination says {stored.size} bytes, the parts had {task.entry.size}",
            host=destination.uri,
            key=task.step.path,
        )
    return _moved(task.step, wanted, stored, task.entry.size or 0, None)
