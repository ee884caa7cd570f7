"""Nobody's object is replaced at S3, also where the host ignores `If-None-Match` always, now and then, or for some keys."""

import re
from itertools import count
from urllib.parse import quote, unquote

import pytest
from test_s3_faults import Host, error

from connectors.entry import Entry
from connectors.errors import NotFoundError, UnavailableError
from connectors.s3.vacancy import SECONDS, Vacancy

BODY, THEIRS = bytes(range(256)), b"somebody's"

HOSTS = {  # each from the number of the put and the key
    "obeys": lambda turn, key: True,
    "ignores": lambda turn, key: False,
    "obeys now and then": lambda turn, key: turn % 3 < 2,
    "obeys at first": lambda turn, key: turn < 10,
    "obeys for some keys": lambda turn, key: int(key.split("/")[1]) % 2 == 0,
}


class Shelf:
    """A host that lists what it holds; `obeys(turn, key)` says whether it looks at the condition of this very put."""

    def __init__(self, obeys=HOSTS["obeys"], *, lists=True, versioned=False):
        self.objects, self.seen, self.obeys, self.lists, self.versioned = {}, [], obeys, lists, versioned
        self.made, self.turns = count(1), count()

    def __call__(self, method, path, query, headers, body):
        key = unquote(path.partition("cabinet/")[2])
        if not key and "versioning" in query:
            status = "<Status>Enabled</Status>" if self.versioned else ""
            return 200, {}, f"<VersioningConfiguration>{status}</VersioningConfiguration>".encode()
        if not key and query.get("list-type") == "2" and self.lists:
            return self.page(query)
        if not key or {"tagging", "acl"} & set(query):
            return error(501, "NotImplemented")
        self.seen.append((method, key))
        version = {"x-amz-version-id": f"v{next(self.made)}"} if self.versioned else {}
        if method == "PUT":
            if headers.get("If-None-Match") and self.obeys(next(self.turns), key) and key in self.objects:
                return error(412, "PreconditionFailed")
            self.objects[key] = body
            return 200, {"ETag": '"e"', **version}, b""
        if key not in self.objects:
            return error(404, "NoSuchKey")
        return 200, {"ETag": '"e"', "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}, self.objects[key]

    def page(self, query):
        after, most = query.get("start-after", ""), int(query.get("max-keys", 1000))
        keys = sorted((key for key in self.objects if key > after), key=str.encode)
        items = "".join(f"<Contents><Key>{quote(key)}</Key><Size>1</Size></Contents>" for key in keys[:most])
        more = f"<IsTruncated>{'true' if len(keys) > most else 'false'}</IsTruncated>"
        told = f"<ListBucketResult>{more}<EncodingType>url</EncodingType>{items}</ListBucketResult>"
        return 200, {}, told.encode()

    def times(self, method):
        return sum(asked == method for asked, _ in self.seen)


def items(keys):
    return [(Entry(key=key, size=len(BODY)), BODY) for key in keys]


KEYS = [f"patients/{number:03}/é {number}" for number in range(60)]


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "lists nothing"])
@pytest.mark.parametrize("obeys", HOSTS.values(), ids=HOSTS)
def test_what_somebody_put_there_is_never_replaced(obeys, lists):
    shelf = Shelf(obeys, lists=lists)
    theirs = set(KEYS[1::3])
    shelf.objects = dict.fromkeys(theirs, THEIRS)
    with Host(shelf) as host:
        place = host.place()
        for start in range(0, len(KEYS), 20):
            for number, stored in place.put_many(items(KEYS[start : start + 20]), 4):
                assert (stored is None) == (KEYS[start + number] in theirs)
    assert {key for key, body in shelf.objects.items() if body == THEIRS} == theirs
    assert {key for key, body in shelf.objects.items() if body == BODY} == set(KEYS) - theirs


@pytest.mark.parametrize("obeys", HOSTS.values(), ids=HOSTS)
def test_what_came_between_two_calls_is_not_replaced_either(obeys):
    shelf = Shelf(obeys)
    with Host(shelf) as host:
        place = host.place()
        assert all(isinstance(stored, Entry) for _, stored in place.put_many(items(KEYS[:30]), 4))
        shelf.objects |= dict.fromkeys(KEYS[40:50], THEIRS)
        found = dict(place.put_many(items(KEYS[30:]), 4))
    assert sorted(number for number, stored in found.items() if stored is None) == list(range(10, 20))
    assert all(shelf.objects[key] == THEIRS for key in KEYS[40:50])


def test_a_host_that_obeyed_is_asked_once_for_many_keys_and_no_more_for_each():
    shelf = Shelf()
    with Host(shelf) as host:
        place = host.place()
        assert all(isinstance(stored, Entry) for _, stored in place.put_many(items(KEYS[:1]), 1))
        assert shelf.times("PUT") == 2  # the second was our own object over itself, which is how the host was tried
        shelf.seen.clear()
        assert all(isinstance(stored, Entry) for _, stored in place.put_many(items(KEYS[1:]), 4))
    assert shelf.times("PUT") == shelf.times("HEAD") == len(KEYS) - 1
    assert len([path for _, path in host.requests if "list-type" in path]) == 1


@pytest.mark.parametrize(
    "shelf",
    [Shelf(HOSTS["ignores"]), Shelf(lists=False), Shelf(versioned=True)],
    ids=["ignores", "lists nothing", "keeps versions"],
)
def test_a_host_that_is_not_proven_is_asked_before_each_put(shelf):
    with Host(shelf) as host:
        place = host.place()
        assert all(isinstance(stored, Entry) for _, stored in place.put_many(items(KEYS), 4))
    for key in KEYS:
        assert next(method for method, asked in shelf.seen if asked == key) == "HEAD"
    if shelf.versioned:
        assert shelf.times("PUT") == len(KEYS)  # a second put of one object would be a version more


def test_a_key_that_comes_twice_is_put_once():
    shelf = Shelf()
    with Host(shelf) as host:
        place = host.place()
        dict(place.put_many(items(KEYS[:1]), 1))
        found = [stored for _, stored in place.put_many(items([KEYS[1], KEYS[2], KEYS[1]]), 1)]
    assert [stored is None for stored in found] == [False, False, True]


class Pages:
    """Answers of a listing, one after the other; `asked` is what was asked for."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, operation, **parameters):
        self.asked.append(parameters)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def page(*keys, more="false", root="ListBucketResult"):
    found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    return f"<{root}><IsTruncated>{more}</IsTruncated>{found}</{root}>".encode()


@pytest.mark.parametrize(
    "answer",
    [
        UnavailableError("slow"),
        NotFoundError("no bucket"),
        b"<html>",
        b"<?xml version='1.0' encoding='none'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a/>",
        b"<!DOCTYPE a><a/>",
        b"",
        page("b", "a"),
        page("a", "a"),
        page("0"),
        page(more="true"),
        page(more="maybe"),
        page(root="ListVersionsResult"),
        b"<ListBucketResult></ListBucketResult>",
        ("<!DOCTYPE a>" + page().decode()).encode("utf-16"),
    ],
    ids=lambda answer: re.sub(r"[^a-z]+", " ", str(answer))[:30],
)
def test_an_odd_page_says_of_no_key_that_it_is_free(answer):
    assert not Vacancy(Pages(answer), "").has("1/a")


def test_what_breaks_elsewhere_while_a_page_is_fetched_is_not_kept_quiet():
    with pytest.raises(ValueError, match="of another flow"):
        Vacancy(Pages(ValueError("of another flow")), "").has("1/a")


def test_a_page_speaks_of_the_keys_that_it_covers_and_of_no_others():
    pages = Pages(page("root/m/1", "root/m/5", more="true"))
    free = Vacancy(pages, "root/")
    assert free.has("m/0")
    assert not free.has("m/1")
    assert free.has("m/2")
    assert not free.has("m/2")
    assert not free.has("m/5")
    assert not free.has("m/6")
    assert not free.has("a")
    assert pages.asked == [{"Prefix": "root/", "EncodingType": "url", "MaxKeys": 256, "StartAfter": "root/m/"}]


ORDERS = {
    "bytes": str.encode,
    "UTF-16": lambda key: key.encode("utf-16-be"),
    "folder by folder": lambda key: key.replace("/", "\0").encode(),
}


@pytest.mark.parametrize("size", [1, 2, 3, 20])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_no_page_hides_a_key_behind_another_order(order, size):
    keys = sorted(["a", "a/1", "a/9", "a-x", "a.txt", "b/\uff20", "b/\U0001f600", "\uff20/x", "\U0001f600"], key=order)

    def listed(operation, *, StartAfter="", **parameters):  # noqa: N803 - S3's names
        found = [key for key in keys if order(key) > order(StartAfter)]
        return page(*found[:size], more="true" if len(found) > size else "false")

    for first in keys:
        free = Vacancy(listed, "")
        free.has(first + "+")
        assert not [key for key in keys if free.has(key)]


def test_a_page_is_believed_for_a_few_seconds_and_asked_for_again_where_it_was_worth_it():
    now = [0.0]
    pages = Pages(page(), page("17"), page())
    free = Vacancy(pages, "", lambda: now[0])
    assert all(free.has(f"{number:02}") for number in range(17))
    now[0] = SECONDS
    assert not free.has("17")
    assert free.has("18")
    now[0] = 2 * SECONDS
    assert not free.has("19")  # the second page answered for one key only
    assert len(pages.asked) == 2
