"""The closing listing: whatever changed, appeared or went since the census is found, wherever in the listing it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import a_job

from connectors import Entry, Location
from portability import census
from portability.job import Job
from portability.ledger import Ledger, pages
from portability.progress import Silent

Listing = list[tuple[str, int, int]]
"""Key, number of the version (the newest first), size."""


def listings() -> st.SearchStrategy[Listing]:
    keys = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=8)
    return keys.map(
        lambda found: [
            (key, len(sizes) - at, size) for key, sizes in sorted(found.items()) for at, size in enumerate(sizes)
        ]
    )


def entries(listing: Listing) -> Iterator[Entry]:
    last = ""
    for key, version, size in listing:
        yield Entry(key=key, size=size, version=str(version), latest=key != last)
        last = key


@pytest.mark.parametrize("size", [1, 3])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=listings(),
    changes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=2),
    drop=st.integers(0, 40),
)
def test_every_change_is_a_finding_and_nothing_else_is(
    size: int,
    before: Listing,
    changes: list[tuple[int, int]],
    drop: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    after = list(before)
    for at, other in changes:
        if at < len(after):
            after[at] = (*after[at][:2], other)
    if drop < len(after):
        del after[drop]
    found = findings(before, after, size, tmp_path_factory.mktemp("evidence"), monkeypatch)

    old, new = set(before), set(after)
    expected = {
        (key, "source-changed" if any(key == one[0] for one in after) else "source-gone") for key, *_ in old - new
    }
    expected |= {
        (key, "source-changed" if any(key == one[0] for one in before) else "source-appeared") for key, *_ in new - old
    }
    assert found == sorted(expected)


def test_a_place_that_tells_the_same_in_another_order_has_not_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = [(key, 1, 5) for key in "abcdefg"]
    assert all(one < two for one, two in pairwise(told))
    assert not findings(told, told[::-1], 2, tmp_path, monkeypatch)
    assert not findings(told, [*told[:4], *told[:3:-1]], 2, tmp_path, monkeypatch)


def test_a_key_of_which_a_version_went_has_changed_wherever_its_other_versions_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = [("b", 3, 1), ("a", 2, 0), ("b", 1, 1)]
    assert findings(told, told[:2], 1, tmp_path, monkeypatch) == [("b", "source-changed")]
    assert findings(told, told[:1], 1, tmp_path, monkeypatch) == [("a", "source-gone"), ("b", "source-changed")]


def findings(
    before: Listing, after: Listing, size: int, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    """What a closing listing in pages of this size finds."""

    def listing(job: Job, *, sequential: bool = False) -> tuple[Iterable[Entry], bool]:
        return entries(after), True

    monkeypatch.setattr(census, "listing", listing)
    monkeypatch.setattr(census, "pages", partial(pages, size=size))
    ledger = Ledger(evidence)
    try:
        with ledger.transaction():
            ledger.execute("DELETE FROM things")
            ledger.add_claims(entries(before))
            ledger.rank()
        nowhere = Location(scheme="memory", host="nowhere")
        census.close(a_job(nowhere, nowhere, evidence), ledger, Silent(), lambda: False)
        return [(one.key, one.problem) for one in ledger.findings()]
    finally:
        ledger.close()
