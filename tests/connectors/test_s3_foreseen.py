"""What a host makes of attributes is learned, and asked no more where every object is read back: nothing is believed for it."""

import hashlib
from dataclasses import replace

import pytest
from test_s3_bulk import BODY, Shelf, at, entry
from test_s3_faults import Host

from connectors.entry import Entry
from connectors.s3.kept import LOOKS
from portability.check import Check, CheckBatch, check
from portability.move import move
from portability.tasks import Batch, Step, Work
from portability.thing import dump

MANY = LOOKS + 20
READ_BACK = Work(retries=1, pause=0.001, read_back=True, connections=1)


class Forgetful(Shelf):
    """Keeps the media type of the first `until` objects only."""

    def __init__(self, until):
        super().__init__()
        self.until = until

    def __call__(self, method, path, query, headers, body):
        if method == "PUT" and len(self.objects) >= self.until:
            headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return super().__call__(method, path, query, headers, body)


def letters(count, **more):
    return [
        (Entry(key=f"{number:03}", size=len(BODY), media_type="text/plain", **more), BODY) for number in range(count)
    ]


def looks(shelf):
    """How often each object was looked at after it was put."""
    put, seen = set(), {}
    for method, path, _ in shelf.seen:
        if method == "PUT":
            put.add(path)
        elif method == "HEAD" and path in put:
            seen[path] = seen.get(path, 0) + 1
    return seen


def put_by(name):
    """How many letters were looked at while this method put them; what it returned of each, beside what the host says."""
    shelf = Shelf()
    with Host(shelf) as host:
        place = host.place()
        stored = dict(getattr(place, name)(letters(MANY), 1))
        asked = len(looks(shelf))
        return asked, [(found, place.stat(f"{number:03}")) for number, found in stored.items()]


def test_objects_alike_are_asked_for_until_the_host_has_shown_what_it_makes_of_them():
    asked, stored = put_by("put_many_foreseen")
    assert (asked, len(stored)) == (LOOKS, MANY)
    for found, told in stored:
        assert replace(found, modified=None, digests={}) == replace(told, modified=None, digests={})


def test_who_does_not_read_back_asks_for_every_object():
    asked, stored = put_by("put_many")
    assert (asked, len(stored)) == (MANY, MANY)
    assert all(found == told for found, told in stored)


def test_what_a_host_treats_in_two_ways_is_always_asked_for():
    class Moody(Forgetful):
        def __call__(self, method, path, *rest):
            self.until = 0 if len(self.objects) % 3 == 0 else MANY
            return super().__call__(method, path, *rest)

    shelf = Moody(0)
    with Host(shelf) as host:
        stored = dict(host.place().put_many_foreseen(letters(MANY), 1))
    assert len(looks(shelf)) == MANY
    assert {found.media_type for found in stored.values()} == {"text/plain", None}


@pytest.mark.parametrize("of_their_own", [{"tags": {"kind": "letter"}}, {"metadata": {"patient": ""}}])
def test_objects_with_tags_or_with_attributes_of_their_own_are_always_asked_for(of_their_own):
    shelf = Shelf()
    items = [
        (replace(one, **{name: dict.fromkeys(of_their_own[name], f"v{number}") for name in of_their_own}), body)
        for number, (one, body) in enumerate(letters(MANY))
    ]
    with Host(shelf) as host:
        stored = dict(host.place().put_many_foreseen(items, 1))
    assert len(looks(shelf)) == len(stored) == MANY


@pytest.mark.parametrize("until", [0, LOOKS + 5, MANY])
def test_a_host_that_forgets_what_it_kept_before_is_found_out_by_the_read_back(until):
    shelves = Shelf(), Forgetful(until)
    keys = [f"{number:03}" for number in range(MANY)]
    shelves[0].objects = {key: (BODY, {"Content-Type": "text/plain"}) for key in keys}
    with Host(shelves[0]) as source, Host(shelves[1]) as destination:
        ends = [at(host) for host in (source, destination)]
        steps = tuple(Step(id=number, claim=dump(entry(key)), path=key) for number, key in enumerate(keys))
        answers = sorted(
            move(Batch(source=ends[0], destination=ends[1], tasks=steps, work=READ_BACK)), key=lambda one: one.id
        )
        checks = tuple(
            Check(
                id=one.id,
                listing=dump(entry(keys[one.id])),
                facts=one.facts,
                path=keys[one.id],
                size=one.size,
                sha256=one.sha256,
                lost=frozenset(name for name, _ in one.losses),
            )
            for one in answers
        )
        seen = check(CheckBatch(destination=ends[1], checks=checks, work=READ_BACK))
    assert {one.sha256 for one in answers} == {hashlib.sha256(BODY).hexdigest()}
    lost = {one.id for one in answers if "media_type" in dict(one.losses)}
    different = {one.id for one in seen if [found.problem for found in one.differences] == ["metadata"]}
    forgotten = {number for number, key in enumerate(keys) if "Content-Type" not in shelves[1].objects[key][1]}
    assert lost | different == forgotten  # named as a loss, or found: never passed over
    assert not lost & different
    assert bool(different) == (until == LOOKS + 5)
