"""Locations, credentials, keys, entries, errors, streams and the registry: what every host stands on."""

import io
import json
import os
import pickle
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import credentials, errors, registry
from connectors.entry import Entry, Posix, altered, from_dict, to_dict, to_json
from connectors.errors import (
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import PARTIAL_FOLDER, check_file_path, file_path_problem, fold, key_bytes, key_text
from connectors.location import Location, redact
from connectors.memory import Memory
from connectors.streams import BytesStream, blocks, read_exactly, read_into, slices

ODD_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
"""Any text, and bytes that are not UTF-8 as surrogateescape carries them."""


def exact(text):
    """Whether text comes back from its bytes: stray surrogates that happen to spell UTF-8 do not."""
    return key_text(key_bytes(text)) == text


# --- locations -------------------------------------------------------------------------------------------------------


def test_an_s3_url_is_bucket_prefix_and_options():
    location = Location.parse("s3://cabinet/a%20b/é?endpoint=https://s3.example&region=fr-par", credentials="env:OLD")
    assert (location.scheme, location.host, location.path) == ("s3", "cabinet", "a b/é")
    assert location.options == {"endpoint": "https://s3.example", "region": "fr-par"}
    assert location.credentials == "env:OLD"


def test_an_sftp_url_is_user_host_port_and_absolute_path():
    location = Location.parse("sftp://jean@new.example:2222/home/cabinet")
    assert (location.user, location.host, location.port) == ("jean", "new.example", 2222)
    assert location.path == "/home/cabinet"


@pytest.mark.parametrize("text", ["file:///tmp/x%20y", "file://localhost/tmp/x%20y", "/tmp/x y"])
def test_files_are_urls_or_plain_paths(text):
    location = Location.parse(text)
    assert (location.scheme, location.host, location.path.rpartition("/")[2]) == ("file", "", "x y")


def test_a_relative_path_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Location.parse("sub").path == (tmp_path / "sub").as_posix()


@given(
    path=ODD_TEXT.filter(exact), user=st.none() | st.text("jeé@:/ ", min_size=1), value=st.text("a&=é /?#", min_size=1)
)
def test_the_url_of_a_location_is_read_back_as_the_same_place(path, user, value):
    location = Location(
        scheme="sftp", host="h.example", user=user, port=22, path=f"/{path}", options={"known_hosts": value}
    )
    assert Location.parse(location.url) == location
    bucket = Location(scheme="s3", host="b", path=path.lstrip("/"), options={"region": value})
    assert Location.parse(bucket.url) == bucket


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("", "empty"),
        ("sftp://jean:tr0ub4dor@h/x", "password"),
        ("s3://b?secret_access_key=tr0ub4dor", "secret"),
        ("s3://b?session_token=tr0ub4dor", "secret"),
        ("s3://b/x#tr0ub4dor", "%23"),
        ("s3://b?region=a&region=b", "twice"),
        ("sftp://h:port/x", "url"),
        ("file://server/share", "three slashes"),
    ],
)
def test_a_url_that_cannot_be_is_refused_and_no_secret_is_repeated(text, tells):
    with pytest.raises(LocationError, match=tells) as caught:
        Location.parse(text)
    if "#" not in text:
        assert "tr0ub4dor" not in str(caught.value)


def test_a_location_travels_and_prints_without_its_credentials():
    location = Location.parse("s3://b/p?region=x", credentials="env:OLD")
    assert pickle.loads(pickle.dumps(location)) == location
    assert "OLD" not in location.url
    assert str(location) == location.url == "s3://b/p?region=x"


def test_redact_hides_user_and_query():
    assert redact("sftp://jean:secret@h/x?token=y") == "sftp://…@h/x"


# --- credentials -----------------------------------------------------------------------------------------------------


def test_env_references_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("OLD_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("OLD_SECRET_ACCESS_KEY", "tr0ub4dor")
    found = credentials.resolve("env:OLD")
    assert found.access_key_id == "AK"
    assert found.secret_access_key.reveal() == "tr0ub4dor"
    assert "tr0ub4dor" not in repr(found)
    assert "tr0ub4dor" not in f"{found.secret_access_key}"


def test_a_secret_does_not_travel():
    with pytest.raises(TypeError, match="reference"):
        pickle.dumps(credentials.Secret("tr0ub4dor"))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [(None, {}), ("profile:old", {"profile": "old"}), ("agent", {"agent": True}), ("anonymous", {"anonymous": True})],
)
def test_references_without_a_secret(reference, expected):
    assert credentials.resolve(reference) == credentials.Credentials(reference=reference, **expected)


@pytest.mark.parametrize("reference", ["password", "vault:x", "env:", "prompt"])
def test_an_unknown_reference_is_refused(reference):
    with pytest.raises(LocationError):
        credentials.resolve(reference)


def test_an_unset_environment_says_what_to_set():
    with pytest.raises(PermissionDeniedError, match="NOWHERE_SECRET_ACCESS_KEY"):
        credentials.resolve("env:NOWHERE")


def test_a_file_holds_a_key_or_names_and_values(tmp_path):
    key, table = tmp_path / "key", tmp_path / "table.toml"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    table.write_text('access_key_id = "AK"\nsecret_access_key = "tr0ub4dor"\n')
    key.chmod(0o600)
    table.chmod(0o600)
    assert credentials.resolve(f"file:{key}").key_file == str(key)
    assert credentials.resolve(f"file:{table}").secret_access_key.reveal() == "tr0ub4dor"


@pytest.mark.parametrize("text", ['pasword = "tr0ub4dor"', 'password = "tr0ub4dor', "", "tr0ub4dor"])
def test_a_file_that_cannot_be_understood_is_refused_without_being_quoted(tmp_path, text):
    file = tmp_path / "table.toml"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(PermissionDeniedError) as caught:
        credentials.resolve(f"file:{file}")
    assert "tr0ub4dor" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no mode bits to check")
def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path):
    file = tmp_path / "table.toml"
    file.write_text('password = "x"')
    file.chmod(0o640)
    with pytest.raises(PermissionDeniedError, match="chmod 600"):
        credentials.resolve(f"file:{file}")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PermissionDeniedError, match="cannot be read"):
        credentials.resolve(f"file:{tmp_path / 'nothing'}")


def test_the_keyring_is_asked_for_each_name(tmp_path, monkeypatch):
    # A stand-in for the optional package, on the path as the real one would be.
    (tmp_path / "keyring.py").write_text("get_password = lambda service, name: {'password': 'x'}.get(name)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert credentials.resolve("keyring:cabinet").password.reveal() == "x"
    monkeypatch.delitem(sys.modules, "keyring")


@pytest.mark.parametrize(("scheme", "names"), [("s3", ["access_key_id", "secret_access_key"]), ("sftp", ["password"])])
def test_prompt_is_answered_once_and_leaves_a_reference_that_travels(monkeypatch, scheme, names):
    answers = iter(["first", "second"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    before = set(os.environ)
    reference = credentials.settle("prompt", scheme, "the old host")
    try:
        found = credentials.resolve(reference)
        assert [name for name in credentials.FIELDS if getattr(found, name)] == names
        assert "first" not in reference
    finally:
        for name in set(os.environ) - before:
            del os.environ[name]
    assert credentials.settle("env:X", scheme, "the old host") == "env:X"


# --- keys ------------------------------------------------------------------------------------------------------------


@given(st.binary())
def test_any_bytes_are_a_key_and_come_back(data):
    assert key_bytes(key_text(data)) == data


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "a/../b", "..", "a\0b", f"{PARTIAL_FOLDER}/x", "é" * 128])
def test_keys_that_are_no_file_path_are_refused_with_host_and_key(key):
    assert file_path_problem(key)
    with pytest.raises(InvalidKeyError) as caught:
        check_file_path(key, "sftp://h")
    assert (caught.value.host, caught.value.key) == ("sftp://h", key)


@pytest.mark.parametrize("key", ["a", "a/b", "...", "a\nb", "é" * 127, "\udce9", "a\\b", f"x/{PARTIAL_FOLDER}", " "])
def test_other_keys_are_file_paths(key):
    check_file_path(key, "sftp://h")


def test_fold_merges_what_a_blind_file_system_merges():
    assert fold("\u00e9T\u00c9") == fold("e\u0301te\u0301")
    assert fold("a") != fold("b")


# --- entries ---------------------------------------------------------------------------------------------------------

TEXTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
POSIX = st.builds(
    Posix,
    mode=st.none() | st.integers(0, 0o7777),
    uid=st.none() | st.integers(0, 2**32),
    gid=st.none() | st.integers(0, 2**32),
    user=st.none() | st.text(max_size=5),
    group=st.none() | st.text(max_size=5),
    mtime_ns=st.none() | st.integers(-(2**62), 2**62),
    xattrs=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=2),
    target=st.none() | ODD_TEXT,
    hardlink_to=st.none() | ODD_TEXT,
    sparse=st.booleans(),
)
ENTRIES = st.builds(
    Entry,
    key=ODD_TEXT,
    size=st.none() | st.integers(0, 2**63),
    modified=st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])),
    media_type=st.none() | st.text(),
    headers=TEXTS,
    metadata=TEXTS,
    tags=TEXTS,
    digests=TEXTS,
    version=st.none() | st.text(min_size=1),
    latest=st.booleans(),
    kind=st.sampled_from(["object", "directory", "link", "delete_marker", "other"]),
    storage_class=st.none() | st.text(),
    host=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.lists(st.integers()), max_size=2),
    posix=st.none() | POSIX,
    locator=st.none() | ODD_TEXT,
)


@given(ENTRIES)
def test_an_entry_written_as_json_is_read_as_the_same_entry(entry):
    assert from_dict(json.loads(json.dumps(to_dict(entry), ensure_ascii=True))) == entry


UNREAD = st.fixed_dictionaries(
    {"unread": TEXTS, "acl": st.dictionaries(st.text(max_size=5), st.lists(TEXTS), max_size=2)}
)


@given(ENTRIES, st.none() | UNREAD)
def test_the_quick_form_of_an_entry_is_that_of_json_to_the_letter(entry, host):
    entry = replace(entry, host=host) if host else entry
    assert to_json(entry) == json.dumps(to_dict(entry))
    assert from_dict(json.loads(to_json(entry))) == entry


@given(ENTRIES, ODD_TEXT, st.none() | st.integers(0, 2**63))
def test_an_altered_entry_is_another_one(entry, key, size):
    before = replace(entry)
    assert altered(entry, key=key, size=size) == replace(entry, key=key, size=size)
    assert entry == before
    with pytest.raises(AttributeError):
        altered(entry, kye=key)
    with pytest.raises(ValueError, match="aware"):
        altered(entry, modified=datetime(2020, 1, 1))  # noqa: DTZ001 - the mistake under test


@given(ENTRIES)
def test_an_entry_travels(entry):
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_an_entry_leaves_out_what_is_not_known():
    assert to_dict(Entry(key="a")) == {"key": "a"}
    assert to_dict(Entry(key="a", size=0)) == {"key": "a", "size": 0}


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="aware"):
        Entry(key="a", modified=datetime(2020, 1, 1))  # noqa: DTZ001 - the mistake under test


# --- errors ----------------------------------------------------------------------------------------------------------

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ConnectorError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_travels_with_its_context(kind):
    error = kind("it broke", host="s3://b", key="\udce9", cause="socket", retry_after=2.5)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == "it broke"


def test_only_what_is_unavailable_is_worth_asking_again():
    assert [kind for kind in ERRORS if kind.retryable] == [UnavailableError]


# --- streams and registry --------------------------------------------------------------------------------------------


def test_a_body_is_counted_and_its_surplus_is_not_passed_on():
    entry = Entry(key="a", size=3)
    assert read_exactly(BytesStream(b"123"), entry, "test:") == b"123"
    for data in (b"12", b"1234"):
        seen = []
        with pytest.raises(CorruptedError):
            seen.extend(blocks(BytesStream(data), entry, "test:", 1))
        assert len(b"".join(seen)) <= 3


@pytest.mark.parametrize("wrap", [lambda data: BytesStream(data), io.BytesIO])
def test_a_body_in_one_buffer_is_counted_and_its_surplus_is_not_passed_on(wrap):
    entry, buffer = Entry(key="a", size=300), memoryview(bytearray(7))
    data = bytes(range(150)) * 2
    assert b"".join(bytes(piece) for piece in slices(wrap(data), entry, "test:", buffer)) == data
    for wrong in (data[:-1], data + b"x"):
        seen = []
        with pytest.raises(CorruptedError):
            seen.extend(bytes(piece) for piece in slices(wrap(wrong), entry, "test:", buffer))
        assert len(b"".join(seen)) <= 300


def test_a_body_that_gives_more_than_it_was_asked_for_is_refused():
    class Eager(BytesStream):
        def read(self, size=-1, /):
            return super().read(size + 1)

    with pytest.raises(CorruptedError):
        read_into(Eager(b"12345"), memoryview(bytearray(3)))


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(UnsupportedError, match=r"memory.*s3.*sftp"):
        registry.connect(Location.parse("gopher://h/x"))


def test_a_connector_is_found_by_its_scheme():
    assert isinstance(registry.connect(Location.parse("memory://core")), Memory)
    assert {"file", "memory", "s3", "sftp"} <= set(registry.schemes())
    assert registry.names()["memory"] == "connectors.memory:connect"


def test_a_connector_can_be_registered_in_this_process():
    registry.register("mine", Memory)
    assert registry.connect(Location(scheme="mine", host="core")).uri == "mine://core"
    with pytest.raises(NotFoundError):
        registry.connect(Location(scheme="mine", host="core")).stat("nothing")


def test_a_password_inside_an_option_is_refused_and_not_repeated() -> None:
    with pytest.raises(LocationError) as caught:
        Location.parse("s3://b?endpoint=https://user:hush@h.example")
    assert "hush" not in str(caught.value)
