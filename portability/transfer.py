"""The driver of the transfer: batches out to workers, answers into the ledger, one transaction for each batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from connectors import ConnectorError, Multipart
from portability.job import Job, part_above
from portability.ledger import Ledger
from portability.links import link
from portability.move import move
from portability.pace import Pace
from portability.pool import batch_of, stream
from portability.progress import Progress
from portability.tasks import (
    Answer,
    Batch,
    Begin,
    Begun,
    Chain,
    Failure,
    Finish,
    Moved,
    Part,
    PartMoved,
    Step,
    Task,
    Work,
)
from portability.thing import Thing

BATCH_BYTES = 32 << 20
"""Of one batch: enough to keep a worker's connections busy, little enough that a kill loses seconds and progress moves."""
_PARTS = 32
"""Of large objects in one batch, where `BATCH_BYTES` does not make it fewer."""
_BEGUN = BATCH_BYTES // 4
"""What the begin of a large object counts for in a batch: its parts will be many, and few such objects be under way."""


@dataclass(slots=True)
class Totals:
    """What a transfer did in this run."""

    moved: int = 0
    failed: int = 0
    bytes: int = 0
    tries: int = 0


@dataclass(slots=True)
class _Large:
    """A large object under way: what is still to come before it can be published."""

    thing: Thing
    token: str = ""
    """Of the upload whose parts are being sent; answers about parts of another one are of no interest any more."""
    missing: int = 0
    resumed: bool = False
    dropped: bool = False


def transfer(
    job: Job,
    ledger: Ledger,
    executor: Executor,
    *,
    work: Work,
    window: Callable[[], int],
    progress: Progress,
    stopped: Callable[[], bool],
) -> Totals:
    """Move everything that is planned. What is under way when `stopped` turns true is finished and settled.

    An error of the executor itself (a killed worker process) passes: everything answered before it is on disk.
    """
    planned = ledger.count("action IN ('copy', 'chain') AND state = 'planned'")
    progress.phase("transfer", planned, ledger.total("size", "action IN ('copy', 'chain') AND state = 'planned'"))
    driver = _Driver(job, ledger, work, stopped, batch_of(planned, window()))
    for batch, answers in stream(executor, move, driver.next_batch, window):
        if isinstance(answers, BaseException):
            raise answers
        driver.settle(batch, answers, progress)
    progress.done()
    return driver.totals


class _Driver:
    def __init__(self, job: Job, ledger: Ledger, work: Work, stopped: Callable[[], bool], batch: int) -> None:
        self._job, self._ledger, self._work, self._stopped, self._most = job, ledger, work, stopped, batch
        self._ready: deque[Task] = deque()
        self._parts: dict[int, Iterator[Part]] = {}
        """By large object: the parts still to be sent, made when they are asked for."""
        self._large: dict[int, _Large] = {}
        self._sizes: dict[int, int] = {}
        self._planned = self._batches()
        self.totals = Totals()
        destination, source = link(job.destination), link(job.source)
        self._pace = Pace(self._work, [source, destination])
        self._part_above = part_above(job)
        # Bytes that must have a known digest are checked before they are published: in one stream.
        self._states_digests = "sha256" in source.capabilities.digests
        self._by_parts = isinstance(destination, Multipart) and source.capabilities.ranged

    # -- making batches -------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch | None:
        if self._stopped():
            return None
        tasks = self._drain() or next(self._planned, []) or self._drain()
        return self._batch(tasks) if tasks else None

    def _batch(self, tasks: list[Task]) -> Batch:
        return Batch(
            source=self._job.source, destination=self._job.destination, tasks=tuple(tasks), work=self._pace.work
        )

    def _drain(self) -> list[Task]:
        """Tasks that earlier answers made ready: parts by the batch, each small enough that all workers get some."""
        tasks: list[Task] = []
        size = 0
        while self._ready and len(tasks) < _PARTS:
            tasks.append(self._ready.popleft())
        while self._parts and size < BATCH_BYTES and len(tasks) < _PARTS:
            number, parts = next(iter(self._parts.items()))
            part = next(parts, None)
            if part is None:
                del self._parts[number]
                continue
            size += part.stop - part.start
            tasks.append(part)
        return tasks

    def _batches(self) -> Iterator[list[Task]]:
        tasks: list[Task] = []
        size = 0
        for group in self._groups():
            task, weight = self._task(group)
            if task is None:  # a large object that goes on: its parts are ready
                if ready := self._drain():
                    yield ready
                continue
            tasks.append(task)
            size += weight
            # Two at least: while one large object waits for its host, the other has the processor.
            if len(tasks) >= self._most or (size >= BATCH_BYTES and len(tasks) > 1):
                yield tasks
                tasks, size = [], 0
        if tasks:
            yield tasks

    def _groups(self) -> Iterator[list[Thing]]:
        """Things to do; the versions of one key together, oldest first, those that are done included."""
        group: list[Thing] = []
        for thing in self._ledger.things("(action = 'copy' AND state = 'planned') OR action = 'chain'"):
            if group and (thing.action != "chain" or thing.key != group[0].key):
                yield from self._unfinished(group)
                group = []
            if thing.action == "chain":
                group.append(thing)
            else:
                yield [thing]
        yield from self._unfinished(group)

    @staticmethod
    def _unfinished(group: list[Thing]) -> Iterator[list[Thing]]:
        if any(thing.state == "planned" for thing in group):
            yield group

    def _task(self, group: list[Thing]) -> tuple[Task | None, int]:
        first = group[0]
        size = 0
        for thing in group:
            if thing.state == "planned":
                self._sizes[thing.id] = thing.size or 0
                size += thing.size or 0
        if first.action == "chain":
            return Chain(steps=tuple(_step(thing) for thing in group)), size
        if (
            self._by_parts
            and first.kind == "object"
            and (first.size or 0) > self._part_above
            and not (first.expect or first.by_content or first.elsewhere or self._states_digests)
        ):
            self._large[first.id] = _Large(thing=first)
            if self._resume(first):
                return None, 0
            return Begin(step=_step(first)), _BEGUN
        return _step(first), size

    def _resume(self, thing: Thing) -> bool:
        """Queue the parts that are missing of an upload that an earlier run began."""
        if self._ledger.upload(thing.id) is None:
            return False
        self._large[thing.id].resumed = True
        self._queue_parts(thing.id)
        return True

    def _queue_parts(self, number: int) -> None:
        upload = self._ledger.upload(number)
        large = self._large[number]
        if upload is None or upload[2].size is None:
            return
        token, part_size, entry = upload
        size = upload[2].size
        there = {part[0] for part in self._ledger.parts(number)}
        starts = range(0, size, part_size)
        missing = [at for at in range(len(starts)) if at + 1 not in there]
        large.token, large.missing = token, len(missing)
        path = large.thing.path
        self._parts[number] = (
            Part(
                id=number,
                entry=entry,
                path=path,
                token=token,
                number=at + 1,
                start=starts[at],
                stop=min(starts[at] + part_size, size),
            )
            for at in missing
        )
        if not missing:
            self._queue_finish(number)

    def _queue_finish(self, number: int) -> None:
        upload = self._ledger.upload(number)
        if upload is not None:
            tags = tuple(part[3] for part in self._ledger.parts(number))
            step = _step(self._large[number].thing)
            self._ready.append(Finish(step=step, entry=upload[2], token=upload[0], tags=tags))

    # -- settling answers -----------------------------------------------------------------------------------------

    def settle(self, batch: Batch, answers: list[Answer], progress: Progress) -> None:
        late = {task.id for task in batch.tasks if isinstance(task, Part) and self._is_late(task)}
        answers = [answer for answer in answers if answer.id not in late]
        moved = [answer for answer in answers if isinstance(answer, Moved)]
        self._pace.saw(
            batch.work,
            len(answers),
            sum(answer.size or 0 for answer in answers if isinstance(answer, Moved | PartMoved)),
            sum(not isinstance(answer, Begun) and answer.attempts > 1 for answer in answers),
        )
        with self._ledger.transaction():
            if moved:
                self._ledger.settle_moved(*moved)
            for answer in answers:
                self._settle(answer, progress)
            self._ledger.touch()

    def _is_late(self, part: Part) -> bool:
        large = self._large.get(part.id)
        return large is None or large.token != part.token

    def _settle(self, answer: Answer, progress: Progress) -> None:
        match answer:
            case Moved():
                large = self._large.pop(answer.id, None)
                self.totals.moved += 1
                self.totals.tries += answer.attempts
                size = self._sizes.pop(answer.id, 0)
                if large is None or answer.sha256 is not None:  # the bytes of parts were counted as they came
                    self.totals.bytes += answer.size or 0
                    progress.step(1, size)
                else:
                    progress.step(1)
            case Begun():
                self._ledger.settle_begun(answer)
                self._queue_parts(answer.id)
            case PartMoved():
                self._settle_part(answer, progress)
            case Failure():
                self._settle_failure(answer, progress)

    def _settle_part(self, answer: PartMoved, progress: Progress) -> None:
        large = self._large.get(answer.id)
        if large is None or large.dropped:
            return
        self._ledger.settle_part(answer)
        self.totals.bytes += answer.size
        self.totals.tries += answer.attempts - 1  # a part is no thing of its own: only what was tried again counts
        progress.step(0, answer.size)
        large.missing -= 1
        if large.missing == 0:
            self._queue_finish(answer.id)

    def _settle_failure(self, answer: Failure, progress: Progress) -> None:
        large = self._large.get(answer.id)
        if large is not None and large.dropped:
            return
        if (
            large is not None
            and large.resumed
            and answer.problem in {"NotFound", "Changed", "InvalidKey", "Unsupported"}
        ):
            # The upload of an earlier run is gone or cannot be gone on with, or the object changed: begin anew, once.
            self._parts.pop(answer.id, None)
            self._ledger.forget_upload(answer.id)
            self._large[answer.id] = _Large(thing=large.thing)
            self._ready.append(Begin(step=_step(large.thing)))
            return
        if large is not None:
            large.dropped = True
            self._parts.pop(answer.id, None)
        self._ledger.settle_failure(answer)
        self.totals.failed += 1
        self.totals.tries += answer.attempts
        progress.step(1, self._sizes.pop(answer.id, 0))


def _step(thing: Thing) -> Step:
    return Step(
        id=thing.id,
        claim=thing.claim_text,
        path=thing.path,
        by_content=thing.by_content or "",
        elsewhere=thing.elsewhere,
        overlay=thing.overlay,
        expect=thing.expect,
        replace=thing.replace,
        replaces=thing.replaces or "",
        present=thing.present,
        settled=thing.state == "moved",
    )


def open_tokens(ledger: Ledger) -> list[str]:
    """Tokens of large objects that an earlier run began and did not finish."""
    return [str(token) for (token,) in ledger.query("SELECT token FROM uploads")]


def abort_uploads(job: Job, ledger: Ledger) -> None:
    """Give up large objects under way before a new census: what they were may have changed."""
    destination = link(job.destination)
    if not isinstance(destination, Multipart):
        return
    for number, token in ledger.query("SELECT thing, token FROM uploads"):
        thing = ledger.thing(number)
        try:
            destination.abort(replace(thing.claim, key=thing.path), token)
        except ConnectorError:
            continue  # nothing of it is visible; the host's own rule for unfinished uploads removes it
