"""The versions of one key through a worker: put in order, onto what an interrupted run has put already."""

from __future__ import annotations

from dataclasses import replace

from connectors import Describer, Entry
from portability.copying import body_of, described, digest_of, moved, put_one, wanted_of
from portability.links import link
from portability.tasks import Answer, Batch, Chain, Failure, Moved, Step
from portability.trying import DifferentContentError, settled


def replay(chain: Chain, batch: Batch) -> list[Answer]:
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

    obstacle = settled(first.id, batch, listed)
    if isinstance(obstacle, Failure) and obstacle.problem:
        return [replace(obstacle, id=step.id) for step in chain.steps if not step.settled]
    for index, step in enumerate(chain.steps):
        if step.settled:
            continue
        there = present[index] if index < len(present) else None
        answer = settled(step.id, batch, lambda step=step, there=there: _version(step, there, batch))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
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
        wanted = wanted_of(step.entry, step)
        stored = there or destination.put_marker(wanted)
        return moved(step, wanted, stored, 0, None, adopted=there is not None)
    entry = described(source, step)
    wanted = wanted_of(entry, step)
    if there is not None:
        mine, theirs = digest_of(body_of(source, entry, batch)), digest_of(body_of(destination, there, batch))
        if there.kind != "object" or mine != theirs:
            raise DifferentContentError(
                "the destination's history of this key is another one", expected=mine[0], found=theirs[0]
            )
        stored = destination.describe(there) if isinstance(destination, Describer) else there
        return moved(step, wanted, stored, mine[1], mine[0], adopted=True)
    stored, body = put_one(source, entry, wanted, step, batch, destination.put_version)
    return moved(step, wanted, stored, body.count, body.sha256)
