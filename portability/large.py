"""A large object through workers: begun, its parts put by whoever is free, finished."""

from __future__ import annotations

from dataclasses import replace

from connectors import AlreadyExistsError, CorruptedError, NotFoundError
from connectors.entry import to_dict
from manifests.digests import Digesting
from portability.copying import adopt, body_of, copy_one, described, may_replace, moved, wanted_of
from portability.links import link
from portability.tasks import Batch, Begun, Finish, Moved, Part, PartMoved, Step


def begin(step: Step, batch: Batch) -> Begun | Moved:
    source, destination = link(batch.source), link(batch.destination)
    entry = described(source, step)
    wanted = wanted_of(entry, step)
    if entry.size is None:
        return copy_one(step, batch)
    if not may_replace(destination, step, batch):
        try:
            destination.stat(step.path)
        except NotFoundError:
            pass
        else:
            return adopt(source, destination, entry, wanted, step, batch)
    size = destination.part_size(entry.size)
    return Begun(id=step.id, token=destination.begin(wanted), part_size=size, facts=to_dict(entry))


def put_part(part: Part, batch: Batch) -> PartMoved:
    source, destination = link(batch.source), link(batch.destination)
    body = Digesting(body_of(source, part.entry, batch, part.start, part.stop))
    size = part.stop - part.start
    try:
        tag = destination.put_part(replace(part.entry, key=part.path), part.token, part.number, body, size)
    finally:
        body.close()
    if body.count != size:
        raise CorruptedError(f"a part gave {body.count} of {size} bytes", host=source.uri, key=part.entry.key)
    return PartMoved(id=part.id, number=part.number, size=size, sha256=body.sha256, tag=tag, attempts=1)


def finish(task: Finish, batch: Batch) -> Moved:
    source, destination = link(batch.source), link(batch.destination)
    wanted = wanted_of(task.entry, task.step)
    try:
        replaces = may_replace(destination, task.step, batch)
        stored = destination.finish(wanted, task.token, task.tags, replace=replaces)
    except AlreadyExistsError:
        return adopt(source, destination, task.entry, wanted, task.step, batch)
    if stored.size != task.entry.size:
        raise CorruptedError(
            f"the destination says {stored.size} bytes, the parts had {task.entry.size}",
            host=destination.uri,
            key=task.step.path,
        )
    return moved(task.step, wanted, stored, task.entry.size or 0, None)
