"""Listing pages of S3: two readers that agree, entries made fast that are ordinary entries."""

import dataclasses
import json
import pickle
from datetime import UTC, timedelta, timezone
from urllib.parse import quote_plus, unquote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.entry import Entry, Posix, listed, to_dict, to_json
from connectors.errors import CorruptedError, UnsupportedError
from connectors.s3 import listing
from connectors.s3.page import Page, _parsed, _rows, read_page

texts = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=6)
names = st.sampled_from(
    ["Key", "LastModified", "ETag", "Size", "StorageClass", "VersionId", "IsLatest", "ChecksumType"]
)
owner = st.just("<Owner><ID>7</ID><DisplayName>Key</DisplayName></Owner>")


@st.composite
def items(draw):
    kind = draw(st.sampled_from(["Contents", "Version", "DeleteMarker"]))
    fields = draw(st.lists(st.one_of(st.tuples(names, texts), owner), max_size=6))
    inner = "".join(
        field if isinstance(field, str) else f"<{field[0]}>{escape(field[1], {chr(34): '&quot;'})}</{field[0]}>"
        for field in fields
    )
    return f"<{kind}>{inner}</{kind}>"


def whole(*pieces):
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(pieces)}</ListBucketResult>".encode()


@given(st.lists(items(), max_size=6), st.sampled_from(["", " ", "<CommonPrefixes><Prefix>a</Prefix></CommonPrefixes>"]))
def test_a_page_means_the_same_to_the_quick_reader_as_to_a_parser(found, between):
    data = whole(between.join(found))
    quick, parsed = read_page(data, "h"), _parsed(data, "h")
    assert (quick.rows, quick.facts, quick.root) == (parsed.rows, parsed.facts, parsed.root)


ITEM = (
    "<Key>a&quot;b</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&#34;e&#34;</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>1</Size><StorageClass>STANDARD</StorageClass>"
    "<Owner><ID>1</ID></Owner>"
)
ROW = ("Contents", 'a"b', "2026-01-02T03:04:05.000Z", '"e"', "1", "STANDARD", "", "")


def test_the_forms_that_hosts_write_need_no_parser():
    version = f"<Version>{ITEM}<VersionId>v</VersionId><IsLatest>true</IsLatest></Version>"
    marker = "<DeleteMarker><Key>b</Key><VersionId>m</VersionId><IsLatest>false</IsLatest></DeleteMarker>"
    found = _rows(f"<Contents>{ITEM}</Contents>{version}{marker}{version}".encode())
    assert found == [
        ROW,
        ("Version", *ROW[1:6], "v", "true"),
        ("DeleteMarker", "b", "", "", "", "", "m", "false"),
        ("Version", *ROW[1:6], "v", "true"),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        "<Contents><Key>a</Key></Contents> <Contents><Key>b</Key></Contents>",
        "<Contents><Key>a</Key></Contents>x<Contents><Key>b</Key></Contents>",
        "<Contents><Key>a</Key></Contents><Other/><Contents><Key>b</Key></Contents>",
        "<Contents><Key>a</Key></Contents><Contents>",
        "<Contents><Key>a</Key></Contents> ",
        "<Contents></Contents>",
        "<Contents><Key>a</Key><Contents></Contents><Contents></Contents></Contents>x<Contents><Key>b</Key></Contents>",
        "<Contents><Key>a</Key><Key><X>b</X></Key></Contents>",
        "<Contents><Key>a&amp;b</Key></Contents>",
        "<Contents><Key>a\rb</Key></Contents>",
        "<Contents><Key>a</Key><Key>b</Key></Contents>",
        "<Contents><Key>a</Key>text</Contents>",
        "<Contents><Key>a</Keys></Contents>",
        "<Contents><Key>a</Key><!-- x --></Contents>",
        "<Contents><Key lang='fr'>a</Key></Contents>",
        "<Contents><Key>a</Key>",
        "<Contents><Key><Key>a</Key></Contents>",
        "<Other><Key>a</Key></Other>",
        "".join(f"<Contents><Key>a</Key><T{n}>1</T{n}></Contents>" for n in range(20)),
    ],
)
def test_any_other_form_is_left_to_the_parser(odd):
    assert _rows(odd.encode()) is None


keys = st.text(st.sampled_from("ab/+%4 1é\n\udce9\u2028"), max_size=8)


@given(st.lists(keys.map(lambda key: quote_plus(key, errors="surrogateescape")) | keys, max_size=5))
def test_keys_of_a_page_mean_the_same_together_as_one_by_one(texts):
    page = Page(facts={"EncodingType": "url"})
    assert [*page.keys(texts)] == [unquote_plus(text, errors="surrogateescape") for text in texts]
    assert [*Page().keys(texts)] == texts


@pytest.mark.parametrize(
    "odd",
    [
        "<Contents lang='fr'><Key>a</Key></Contents><Contents><Key>b</Key></Contents>",
        "<Contents><Key>b</Key></Contents><x:Contents xmlns:x='x'><Key>c</Key></x:Contents>",
        "<Other><Contents><Key>a</Key></Contents></Other>",
        "<Contents lang='fr'><Contents><Key>a</Key></Contents></Contents>",
        "<?other <Contents><Key>a</Key></Contents>?>",
    ],
)
def test_no_entry_of_an_odd_page_is_lost_or_invented(odd):
    assert read_page(whole(odd), "h").rows == _parsed(whole(odd), "h").rows


def test_much_after_the_last_item_is_read_too():
    page = read_page(whole(f"<Contents>{ITEM}</Contents>", f"<Prefix>{'x' * 40_000}</Prefix>"), "h")
    assert len(page.facts["Prefix"]) == 40_000
    assert page.rows == [ROW]


@pytest.mark.parametrize("size", ["", "-1", "1_0", " 1", "x", "9" * 5000])
def test_a_size_that_is_no_number_is_refused(size):
    data = whole(f"<Contents><Key>a</Key><Size>{size}</Size></Contents>")
    with pytest.raises(CorruptedError, match="without key, size"):
        list(listing.objects(lambda *_, **__: data, "", "", "h"))


@pytest.mark.parametrize("more", ["true", "false"])
def test_a_host_that_lists_objects_when_asked_for_versions_lists_no_versions(more):
    data = whole(f"<Contents>{ITEM}</Contents>").replace(b"false", more.encode())
    with pytest.raises(UnsupportedError):
        list(listing.versions(lambda *_, **__: data, "", "", "h", trusted=False))


moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]))
maybe = st.none() | st.text(max_size=4)
mappings = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
entries = st.builds(
    Entry,
    key=st.text(max_size=6) | st.just("odd\udce9"),
    size=st.none() | st.integers(0, 9),
    modified=st.none() | moments,
    digests=mappings,
    version=maybe,
    storage_class=maybe,
    latest=st.booleans(),
    kind=st.sampled_from(["object", "delete_marker", "directory"]),
)


@given(entries)
def test_an_entry_made_fast_is_an_ordinary_entry(entry):
    fast = listed(
        entry.key,
        entry.size,
        entry.modified,
        entry.digests,
        entry.storage_class,
        entry.version,
        entry.latest,
        entry.kind,
    )
    assert type(fast) is Entry
    assert fast == entry
    assert repr(fast) == repr(entry)
    assert pickle.loads(pickle.dumps(fast)) == entry
    assert dataclasses.replace(fast, size=7) == dataclasses.replace(entry, size=7)
    for change in (lambda: setattr(fast, "size", 3), lambda: delattr(fast, "key")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()


@given(
    st.one_of(
        entries,
        st.builds(
            Entry,
            key=st.text(max_size=4),
            media_type=st.none() | st.sampled_from(["", "text/plain"]),
            metadata=mappings,
            host=mappings,
            posix=st.none() | st.just(Posix(mode=0o640)),
        ),
    )
)
def test_the_text_of_an_entry_is_its_json_to_the_letter(entry):
    assert to_json(entry) == json.dumps(to_dict(entry))
