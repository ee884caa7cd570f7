"""Listings fetched at several places at once equal those fetched one page after another, whatever the keys and whoever lies."""

import bisect
import random
import threading
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import CorruptedError, UnavailableError
from connectors.s3 import listing, stretches


@pytest.fixture(autouse=True)
def always_wide(monkeypatch):
    monkeypatch.setattr(stretches, "PATIENCE", 0.0)


def utf8(key):
    return key.encode()


def utf16(key):
    return key.encode("utf-16-be")


class Bucket:
    """Lists keys in pages. `order`: by which bytes; the other ways to be wrong are overridden methods."""

    def __init__(self, keys, size=3, order=utf8):
        self.order = order
        self.keys = sorted(set(keys), key=order)
        self.size = size
        self.asked = []
        self.lock = threading.Lock()

    def begin(self, where):
        """The index at which the page begins, and whether the listing was begun further on."""
        if token := where.get("ContinuationToken"):
            at, _, guessed = token.partition("-")
            return int(at), bool(guessed)
        if "StartAfter" not in where:
            return 0, False
        ranks = [self.order(key) for key in self.keys]
        return bisect.bisect_right(ranks, self.order(where["StartAfter"])), True

    def items(self, at, end, guessed):
        return self.keys[at:end]

    def more(self, end, guessed):
        return end < len(self.keys)

    def __call__(self, operation, *, Prefix, EncodingType, **where):  # noqa: N803 - S3's names
        with self.lock:
            self.asked.append(where)
            at, guessed = self.begin(where)
            end = min(at + self.size, len(self.keys))
            rows = "".join(
                f"<Contents><Key>{quote(key)}</Key><Size>1</Size></Contents>" for key in self.items(at, end, guessed)
            )
            more = self.more(end, guessed)
            token = f"<NextContinuationToken>{end}{'-g' if guessed else ''}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        ).encode()

    @property
    def guesses(self):
        return sum("StartAfter" in where for where in self.asked)

    def list(self, prefix=""):
        return [entry.key for entry in listing.objects(self, "", prefix, "h", width=6)]


FLAT = [f"scan-{n:06}.dcm" for n in range(900)]
TREE = [f"patients/p{n // 7:05}/docs/doc_{n:07}.bin" for n in range(900)]
HASHES = [f"{random.Random(n).getrandbits(128):032x}" for n in range(900)]
UNEVEN = [f"a/{n}" for n in range(700)] + [f"b/{n}/x" for n in range(20)] + ["c", "d", "é", "😀/1", "😀/2", "\uffee"]
SHAPES = [FLAT, TREE, HASHES, UNEVEN, [f"{'x' * n}" for n in range(1, 300)]]


@pytest.mark.parametrize("keys", SHAPES)
@pytest.mark.parametrize("size", [2, 4, 30])
def test_a_large_listing_is_whole_in_order_and_fetched_at_several_places(keys, size):
    bucket = Bucket(keys, size)
    assert bucket.list() == bucket.keys
    assert bucket.guesses > 1
    # A guess in vain costs a request: there must be few.
    assert len(bucket.asked) < 2 * len(bucket.keys) / size + 40


pieces = st.sampled_from(
    ["a", "b", "z", "/", "//", ".", "..", "é", "e\u0301", "\uffee", "😀", "\U0010ffff", "%41", "+", " ", "0", "9"]
)
odd = st.lists(st.lists(pieces, min_size=1, max_size=5).map("".join), max_size=80)


@settings(max_examples=150)
@given(odd, st.integers(1, 4), st.sampled_from([utf8, utf16, str.casefold, lambda key: key[::-1].encode()]))
def test_any_keys_in_any_order_are_each_listed_once(keys, size, order):
    bucket = Bucket(keys, size, order)
    assert bucket.list() == bucket.keys


class IgnoresStartAfter(Bucket):
    def begin(self, where):
        at, guessed = super().begin(where)
        return (0 if "StartAfter" in where else at), guessed


class CutsGuesses(Bucket):
    """Ends whatever was begun further on after a page, as if nothing followed."""

    def more(self, end, guessed):
        return super().more(end, guessed) and not guessed


class EmptyGuesses(Bucket):
    def begin(self, where):
        at, guessed = super().begin(where)
        return (len(self.keys) if "StartAfter" in where else at), guessed


class ForgetsInGuesses(Bucket):
    """Leaves every tenth key out of what was begun further on."""

    def items(self, at, end, guessed):
        return [key for n, key in enumerate(self.keys[at:end], at) if not guessed or n % 10]


class BeginsElsewhere(Bucket):
    """Takes what it is asked to begin after in another order than that in which it lists."""

    def begin(self, where):
        if "StartAfter" in where:
            return next(
                (n for n, key in enumerate(self.keys) if key.encode()[::-1] > where["StartAfter"].encode()), 0
            ), True
        return super().begin(where)


@pytest.mark.parametrize("keys", SHAPES)
@pytest.mark.parametrize("wrong", [IgnoresStartAfter, CutsGuesses, EmptyGuesses, BeginsElsewhere])
@pytest.mark.parametrize("size", [4, 30])
def test_a_host_that_cannot_begin_further_on_is_listed_from_the_beginning(keys, wrong, size):
    bucket = wrong(keys, size)
    assert bucket.list() == bucket.keys


@pytest.mark.parametrize("keys", [FLAT, TREE])
def test_what_is_left_out_further_on_is_seen_where_two_stretches_meet(keys):
    bucket = ForgetsInGuesses(keys, 50)
    assert bucket.list() == bucket.keys
    assert bucket.guesses > 0


class Strays(Bucket):
    """Goes back to the beginning, once, some pages after it was begun further on."""

    strayed = False

    def begin(self, where):
        at, guessed = super().begin(where)
        if guessed and "ContinuationToken" in where and at > len(self.keys) * 0.97 and not self.strayed:
            self.strayed = True
            return 0, False
        return at, guessed


@pytest.mark.parametrize("keys", [FLAT, TREE, HASHES])
def test_tokens_that_go_astray_after_a_guess_list_nothing_twice(keys):
    bucket = Strays(keys, 2)
    assert bucket.list() == bucket.keys
    assert bucket.strayed


def test_where_to_guess_does_not_grow_with_the_listing(monkeypatch):
    monkeypatch.setattr(stretches, "PATIENCE", 60.0)  # a fast line: nobody divides, and steps wait
    bucket = Bucket([f"p{n // 9:05}/{n:06}" for n in range(2000)], 2)
    several = stretches.Stretches(
        lambda where: bucket("list", Prefix="", EncodingType="url", **where),
        lambda page: {"ContinuationToken": page.facts["NextContinuationToken"]},
        lambda text: {"StartAfter": text},
        within="",
        host="h",
        width=2,
    )
    most = max(len(several._row[0].steps) for _ in several.pages())
    assert most < 30


class Refuses(Bucket):
    def begin(self, where):
        if "StartAfter" in where:
            raise UnavailableError("slow down", host="h")
        return super().begin(where)


def test_a_refused_guess_is_not_repeated_and_not_an_error():
    bucket = Refuses(FLAT, 10)
    assert bucket.list() == bucket.keys
    assert bucket.guesses <= 6


class Changes(Bucket):
    """Loses the keys with which others had begun, while it is listed."""

    def begin(self, where):
        if len(self.asked) == 30:
            gone = {key for key in self.keys[200:] if key.endswith("0.dcm")}
            self.keys = [key for key in self.keys if key not in gone]
        if token := where.get("ContinuationToken"):
            return bisect.bisect_left(self.keys, token.removesuffix("-g")), token.endswith("-g")
        return super().begin(where)

    def __call__(self, *args, **where):
        page = super().__call__(*args, **where).decode()
        head, sep, tail = page.partition("<NextContinuationToken>")
        if not sep:
            return page.encode()
        at, _, rest = tail.partition("</")
        number, guessed, _ = at.partition("-g") if "-g" in at else (at, "", "")
        key = self.keys[int(number)] if int(number) < len(self.keys) else "~"
        return f"{head}{sep}{key}{guessed}</{rest}".encode()


def test_a_bucket_that_changes_meanwhile_is_never_listed_with_a_gap_or_twice():
    bucket = Changes(FLAT, 10)
    found = bucket.list()
    assert sorted(set(found)) == found
    assert set(bucket.keys) <= set(found)


class Lies(CutsGuesses):
    """Cuts guesses, and lists something else when it is asked again from the beginning."""

    def items(self, at, end, guessed):
        began = sum(not where for where in self.asked)
        return [key for key in super().items(at, end, guessed) if began < 2 or not key.endswith("7.dcm")]


def test_a_host_that_contradicts_itself_is_refused():
    bucket = Lies(FLAT, 20)
    with pytest.raises(CorruptedError, match="from the beginning"):
        bucket.list()
    assert bucket.guesses > 1


class EndsEarly(Bucket):
    def more(self, end, guessed):
        return super().more(end, guessed) and (guessed or end < 8 * self.size)


def test_an_end_that_comes_before_what_is_known_to_follow_is_refused():
    with pytest.raises(CorruptedError, match="lists more when asked"):
        EndsEarly(FLAT, 5).list()


def versions_page(bucket, where):
    items = sorted((key, -n) for key in bucket for n in range(3))
    at = 0
    if "KeyMarker" in where:
        after = (where["KeyMarker"], -int(where["VersionIdMarker"]) if "VersionIdMarker" in where else 1)
        at = bisect.bisect_right(items, after)
    rows = "".join(
        f"<Version><Key>{key}</Key><VersionId>{-n}</VersionId><IsLatest>{str(n == -2).lower()}</IsLatest><Size>1</Size></Version>"
        for key, n in items[at : at + 10]
    )
    follow = ""
    if more := at + 10 < len(items):
        key, n = items[at + 9]
        follow = f"<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{-n}</NextVersionIdMarker>"
    return f"<ListVersionsResult><IsTruncated>{str(more).lower()}</IsTruncated>{follow}{rows}</ListVersionsResult>".encode()


def test_versions_are_fetched_at_several_places_too_newest_first():
    asked = []

    def fetch(operation, *, Prefix, EncodingType, **where):  # noqa: N803 - S3's names
        asked.append(where)
        return versions_page(FLAT, where)

    found = [(entry.key, entry.version) for entry in listing.versions(fetch, "", "", "h", trusted=True, width=6)]
    assert found == [(key, version) for key in FLAT for version in "210"]
    assert sum(where.keys() == {"KeyMarker"} for where in asked) > 1


def test_a_listing_that_nobody_reads_on_stops_asking():
    bucket = Bucket(FLAT, 1)
    entries = listing.objects(bucket, "", "", "h", width=6)
    for _ in range(20):
        next(entries)
    entries.close()
    assert len(bucket.asked) < 200
