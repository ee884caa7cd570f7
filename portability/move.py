"""The worker: a batch of tasks in, a result for each out."""

from __future__ import annotations

from connectors import ConnectorError
from portability.bulk import first_tries
from portability.chains import replay
from portability.copying import copy_one
from portability.large import begin, finish, put_part
from portability.tasks import Answer, Batch, Begin, Chain, Finish, Moved, Part, Step, Task
from portability.trying import overlap, settled, width_of


def move(batch: Batch) -> list[Answer]:
    """Do the tasks of a batch, several at once, and answer each. Raises nothing that a host can cause.

    A connector that cannot be opened fails every task of the batch.
    """
    width = width_of(batch)
    tried = first_tries(batch)

    done: list[Answer] = [first for first in tried.values() if isinstance(first, Moved)]
    moved = {answer.id for answer in done}
    rest = [task for task in batch.tasks if not (isinstance(task, Step) and task.id in moved)]

    def answer(task: Task) -> list[Answer]:
        first = tried.get(task.id) if isinstance(task, Step) else None
        return _answer(task, batch, first if isinstance(first, ConnectorError) else None)

    return done + [answer for several in overlap(answer, rest, width) for answer in several]


def _answer(task: Task, batch: Batch, failed: ConnectorError | None) -> list[Answer]:
    match task:
        case Chain():
            return replay(task, batch)
        case Step():
            return [settled(task.id, batch, lambda: copy_one(task, batch), failed)]
        case Begin():
            return [settled(task.step.id, batch, lambda: begin(task.step, batch))]
        case Part():
            return [settled(task.id, batch, lambda: put_part(task, batch))]
        case Finish():
            return [settled(task.step.id, batch, lambda: finish(task, batch))]
