"""One right connector with every ability, and for each test of the contract one that is wrong in exactly that.

Not collected by itself: test_contract_catches.py runs each wrong connector against the test that must catch it.
"""

import dataclasses
import gzip
import hashlib
import itertools
import os
import socket
import threading
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from connectors.entry import Entry, Posix
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import file_path_problem
from connectors.location import Location
from connectors.memory import Memory
from connectors.protocols import BulkRead, Setting
from connectors.streams import BytesStream, read_exactly
from connectors.testing.contract import ConnectorContract

SECRET = "a-secret-that-must-not-be-seen"
os.environ["TEST_WRONG_PASSWORD"] = SECRET
_numbers = itertools.count()
_uploads: dict[str, dict[str, dict[int, bytes]]] = {}  # place -> token -> number -> bytes
_settings: dict[str, dict[str, object]] = {}


class Right(Memory):
    """A memory host with all abilities, and places that can be missing: it must pass everything."""

    def __init__(self, location):
        super().__init__(location)
        self.location = location
        self.pending = _uploads.setdefault(f"{location.host}/{location.path}", {})

    def outer(self):
        """The place around an inner one."""
        return Memory(replace(self.location, path=""))

    def newest(self, key):
        return self._place.things[key][-1]

    def must_exist(self):
        if "-missing" in self.location.path:
            raise NotFoundError("no such place", host=self.uri)

    def list(self, prefix=""):
        self.must_exist()
        yield from (replace(entry, metadata={}) for entry in super().list(prefix))

    def describe(self, entry):
        found = self.stat(entry.key)
        if found.version != entry.version:
            raise ChangedError("replaced since it was listed", host=self.uri, key=entry.key)
        return found

    def digest(self, entry, name):
        if name != "sha256":
            raise UnsupportedError("only sha256", host=self.uri, key=entry.key)
        return hashlib.sha256(read_exactly(self.open(entry), entry, self.uri)).hexdigest()

    def part_size(self, size):
        return 1000

    def begin(self, entry):
        token = f"token-{next(_numbers)}"
        self.pending[token] = {}
        return token

    def put_part(self, entry, token, number, body, size):
        data = read_exactly(body, Entry(key=entry.key, size=size), self.uri)
        self.pending[token][number] = data
        return str(number)

    def finish(self, entry, token, parts, *, replace=False):
        if token not in self.pending:
            raise NotFoundError("no such upload", host=self.uri, key=entry.key)
        data = b"".join(self.pending[token][int(part)] for part in parts)
        finished = self.put(entry, BytesStream(data), replace=replace)
        del self.pending[token]
        return finished

    def abort(self, entry, token):
        self.pending.pop(token, None)

    def prepare(self, keep=()):
        for token in set(self.pending) - set(keep):
            del self.pending[token]

    def free(self):
        return 1 << 40

    def sequential(self):
        return self

    def settings(self):
        return dict(_settings.get(self.uri, {}))

    def fit_settings(self, recorded):
        return [
            Setting(name=name, value=value, refused="no" if name == "no such setting" else "")
            for name, value in recorded.items()
        ]

    def compare_setting(self, setting):
        return "equal" if self.settings().get(setting.name) == setting.value else "free"

    def put_setting(self, setting):
        _settings.setdefault(self.uri, {})[setting.name] = setting.value

    bulk_bytes = 1 << 20

    def read_many(self, entries, width):
        for number, entry in enumerate(entries):
            try:
                described = self.describe(entry)
                yield number, BulkRead(entry=described, body=read_exactly(self.open(entry), described, self.uri))
            except ConnectorError as error:
                yield number, error

    def put_many(self, items, width):
        for number, (entry, body) in enumerate(items):
            try:
                yield number, self.put(entry, BytesStream(body))
            except ConnectorError as error:
                yield number, error


class RightContract(ConnectorContract):
    """The suite over `connector`; subclasses say which."""

    connector = Right
    large = 1 << 20
    recorded: ClassVar = {"colour": {"name": "blue"}}

    @pytest.fixture
    def location(self, request):
        versions = {"versions": "true"} if "_16_" in request.node.name else {}
        return Location(scheme="memory", host=f"wrong-{next(_numbers)}", options=versions, credentials="env:TEST_WRONG")

    def open_place(self, location):
        return self.connector(location)

    def residue(self, location):
        return _uploads.get(f"{location.host}/{location.path}", {})


WRONG: dict[str, list[type[Right]]] = {}


def caught_by(test):
    """Say which test of the contract must catch the connector."""

    def note(connector):
        WRONG.setdefault(test, []).append(connector)
        return connector

    return note


def held(place, entry, data):
    """Store without any check."""
    return Memory.put(place, replace(entry, size=None), BytesStream(data), replace=True)


class LiveStream:
    """Reads whatever is there at the moment, as a file read by name would."""

    def __init__(self, place, key):
        self.place, self.key, self.at = place, key, 0

    def read(self, size=-1, /):
        things = self.place._place.things.get(self.key)
        data = things[-1][1] if things else b""
        piece = data[self.at :] if size < 0 else data[self.at : self.at + size]
        self.at += len(piece)
        return piece

    def close(self):
        pass


@caught_by("test_01_nothing_to_list_is_an_empty_iterator")
class EmptyIsMissing(Right):
    def list(self, prefix=""):
        found = [*super().list(prefix)]
        if not found:
            raise NotFoundError("nothing here", host=self.uri)
        yield from found


@caught_by("test_01_a_missing_place_is_not_found_and_never_empty")
class MissingIsEmpty(Right):
    def must_exist(self):
        pass


@caught_by("test_01_more_objects_than_a_page_are_each_listed_once")
class LosesTheSecondPage(Right):
    def list(self, prefix=""):
        yield from itertools.islice(super().list(prefix), 1000)


@caught_by("test_01_more_objects_than_a_page_are_each_listed_once")
class RepeatsTheLastOfAPage(Right):
    def list(self, prefix=""):
        for number, entry in enumerate(super().list(prefix), 1):
            yield entry
            if number % 1000 == 0:
                yield entry


@caught_by("test_01_a_prefix_is_plain_text_and_not_a_folder")
class PrefixIsAFolder(Right):
    def list(self, prefix=""):
        yield from super().list(f"{prefix.rstrip('/')}/" if prefix else "")


@caught_by("test_01_a_place_shows_nothing_of_its_neighbours")
class RootIsATextPrefix(Right):
    def list(self, prefix=""):
        yield from super().list(prefix)
        if self.location.path:
            for entry in self.outer().list(self.location.path):
                yield replace(entry, key=entry.key.removeprefix(self.location.path))


@caught_by("test_02_a_folder_that_holds_something_is_not_listed")
class ListsFolders(Right):
    def list(self, prefix=""):
        for entry in super().list(prefix):
            if "/" in entry.key:
                yield Entry(key=entry.key.rpartition("/")[0], kind="directory")
            yield entry


@caught_by("test_02_a_listed_object_has_its_size")
class ListsNoSizes(Right):
    def list(self, prefix=""):
        yield from (replace(entry, size=None) for entry in super().list(prefix))


@caught_by("test_03_an_entry_reads_its_own_version_or_says_that_it_changed")
class ReadsTheNewest(Right):
    def open(self, entry, start=0, stop=None):
        return super().open(Entry(key=entry.key), start, stop)


@caught_by("test_03_an_entry_reads_its_own_version_or_says_that_it_changed")
class VersionsStayTheSame(Right):
    def put(self, entry, body, *, replace=False):
        return dataclasses.replace(super().put(entry, body, replace=replace), version="always")

    def open(self, entry, start=0, stop=None):
        return super().open(Entry(key=entry.key), start, stop)


@caught_by("test_03_bytes_of_two_versions_never_mix")
class MixesVersions(Right):
    def open(self, entry, start=0, stop=None):
        super().open(entry)
        return LiveStream(self, entry.key)


@caught_by("test_04_what_was_stored_is_read")
class GivesMoreThanAsked(Right):
    def open(self, entry, start=0, stop=None):
        stream = super().open(entry, start, stop)
        read = stream.read
        stream.read = lambda size=-1: read(-1)
        return stream


@caught_by("test_04_what_was_stored_is_read")
class EndsBeforeTheEnd(Right):
    def open(self, entry, start=0, stop=None):
        return super().open(entry, start, stop if stop is not None else max(0, self.stat(entry.key).size - 1))


@caught_by("test_04_ranges_are_half_open")
class RangesAreClosed(Right):
    def open(self, entry, start=0, stop=None):
        return super().open(entry, start, None if stop is None else stop + 1)


@caught_by("test_04_fewer_bytes_than_promised_are_an_error")
class ShortIsSuccess(Right):
    def open(self, entry, start=0, stop=None):
        return super().open(replace(entry, size=None), start, stop)


@caught_by("test_05_a_body_in_small_pieces_is_stored_whole")
class ReadsOnce(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, size=None), BytesStream(body.read(entry.size)), replace=replace)


@caught_by("test_05_a_body_that_fails_leaves_nothing")
class KeepsThePartial(Right):
    def put(self, entry, body, *, replace=False):
        pieces = []
        try:
            while piece := body.read(4096):
                pieces.append(piece)
        except ConnectorError:
            held(self, entry, b"".join(pieces))
            raise
        return super().put(entry, BytesStream(b"".join(pieces)), replace=replace)


@caught_by("test_05_a_large_body_that_fails_leaves_nothing")
class KeepsThePartsOfLargeBodies(Right):
    def put(self, entry, body, *, replace=False):
        if (entry.size or 0) < self.part_size(0) * 1000:
            return super().put(entry, body, replace=replace)
        token = self.begin(entry)
        self.put_part(entry, token, 1, body, entry.size)
        return self.finish(entry, token, ["1"], replace=replace)

    def finish(self, entry, token, parts, *, replace=False):
        data = self.pending.pop(token)[1]
        return Memory.put(self, entry, BytesStream(data), replace=replace)


@caught_by("test_05_an_error_of_the_body_comes_out_as_it_is")
class BlamesItselfForTheBody(Right):
    def put(self, entry, body, *, replace=False):
        try:
            return super().put(entry, body, replace=replace)
        except UnavailableError as error:
            raise UnavailableError("upload failed", host=self.uri, key=entry.key) from error


@caught_by("test_05_a_place_works_on_after_a_body_that_failed")
class BreaksWithTheBody(Right):
    broken = False

    def put(self, entry, body, *, replace=False):
        if self.broken:
            raise UnavailableError("the connection is in an unknown state", host=self.uri, key=entry.key)
        self.broken = True
        stored = super().put(entry, body, replace=replace)
        self.broken = False
        return stored


@caught_by("test_05_nothing_shows_the_object_before_put_returns")
class ShowsTheUnfinished(Right):
    def put(self, entry, body, *, replace=False):
        if entry.key not in self._place.things:
            held(self, entry, b"")
            replace = True
        return super().put(entry, body, replace=replace)


@caught_by("test_05_the_old_content_is_there_until_the_new_is")
class TruncatesFirst(Right):
    def put(self, entry, body, *, replace=False):
        if replace:
            held(self, entry, b"")
        return super().put(entry, body, replace=replace)


@caught_by("test_05_a_failed_replacement_leaves_the_old_content")
class DeletesFirst(Right):
    def put(self, entry, body, *, replace=False):
        if replace:
            self.delete(entry.key)
        return super().put(entry, body, replace=replace)


@caught_by("test_05_a_large_body_is_stored_whole")
class CutsLargeBodies(Right):
    def put(self, entry, body, *, replace=False):
        data = read_exactly(body, entry, self.uri)[: 1 << 19]
        return super().put(dataclasses.replace(entry, size=None), BytesStream(data), replace=replace)


@caught_by("test_06_a_body_of_another_size_is_refused")
class CountsNothing(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, size=None), body, replace=replace)


@caught_by("test_06_a_body_of_another_size_is_refused")
class TakesWhatWasAnnounced(Right):
    def put(self, entry, body, *, replace=False):
        data = body.read(-1)
        short = entry.size is not None and len(data) < entry.size
        data = data if short else data[: entry.size]  # the surplus is dropped in silence
        return super().put(entry, BytesStream(data), replace=replace)


@caught_by("test_06_a_size_that_is_not_known_is_found_out")
class WantsToKnowTheSize(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, size=entry.size or 0), body, replace=replace)


@caught_by("test_07_what_is_there_is_not_replaced_unless_asked")
class AlwaysReplaces(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(entry, body, replace=True)


@caught_by("test_07_of_two_in_a_race_one_wins")
class LooksThenPuts(Right):
    def put(self, entry, body, *, replace=False):
        if not replace and entry.key in self._place.things:
            raise AlreadyExistsError("an object is there already", host=self.uri, key=entry.key)
        return super().put(entry, body, replace=True)


@caught_by("test_08_put_returns_what_stat_returns")
class ReturnsWhatWasAsked(Right):
    def put(self, entry, body, *, replace=False):
        super().put(entry, body, replace=replace)
        return entry


@caught_by("test_09_preflight_needs_no_network")
class AsksTheHost(Right):
    def preflight(self, entry):
        super().preflight(entry)
        with socket.socket() as connection:
            connection.connect_ex(("127.0.0.1", 9))


@caught_by("test_09_put_refuses_what_preflight_refuses")
class PutsWithoutPreflight(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, kind="object"), body, replace=replace)


class Escaping(Right):
    """Names of other places are followed in reading."""

    def stat(self, key):
        if key.startswith("../"):
            return replace(self.outer().stat(key[3:]), key=key)
        return super().stat(key)


@caught_by("test_10_nothing_is_read_outside_the_root")
class StatsOutside(Escaping):
    pass


@caught_by("test_10_nothing_is_read_outside_the_root")
class ReadsOutside(Right):
    def open(self, entry, start=0, stop=None):
        if entry.key.startswith("../"):
            return self.outer().open(Entry(key=entry.key[3:]), start, stop)
        return super().open(entry, start, stop)


@caught_by("test_10_nothing_is_read_outside_the_root")
class ListsOutside(Right):
    def list(self, prefix=""):
        yield from self.outer().list(prefix[3:]) if prefix.startswith("../") else super().list(prefix)


@caught_by("test_10_nothing_is_written_outside_the_root")
class WritesOutside(Right):
    def put(self, entry, body, *, replace=False):
        if entry.key.startswith("../"):
            return self.outer().put(dataclasses.replace(entry, key=entry.key[3:]), body, replace=replace)
        return super().put(entry, body, replace=replace)


@caught_by("test_10_nothing_is_written_outside_the_root")
class DeletesOutside(Right):
    def delete(self, key):
        if key.startswith("../"):
            return self.outer().delete(key[3:])
        return super().delete(key)


@caught_by("test_10_a_link_does_not_lead_outside_the_root")
class FollowsLinksInAPath(Right):
    def stat(self, key):
        return self.outer().stat(key[4:]) if key.startswith("way/") else super().stat(key)


@caught_by("test_10_a_link_does_not_lead_outside_the_root")
class ReadsThroughLinks(Right):
    def open(self, entry, start=0, stop=None):
        found = self.stat(entry.key)
        if found.kind == "link" and self.location.path:
            return self.outer().open(Entry(key=found.posix.target.removeprefix("../")))
        return super().open(entry, start, stop)


@caught_by("test_11_what_is_not_there_is_not_found")
class RaisesForeignErrors(Right):
    def stat(self, key):
        return self.newest(key)[0]


@caught_by("test_11_what_is_not_there_is_not_found")
class AsksAgainForTheMissing(Right):
    def stat(self, key):
        try:
            return super().stat(key)
        except NotFoundError as error:
            error.retryable = True
            raise


@caught_by("test_11_what_is_not_there_is_not_found")
class ErrorsDoNotTravel(Right):
    def stat(self, key):
        try:
            return super().stat(key)
        except NotFoundError as error:
            error.cause = threading.Lock()
            raise


@caught_by("test_11_a_refusal_names_host_and_key")
class NamesNoKey(Right):
    def put(self, entry, body, *, replace=False):
        try:
            return super().put(entry, body, replace=replace)
        except AlreadyExistsError as error:
            raise AlreadyExistsError("something exists", host=self.uri) from error


@caught_by("test_11_an_object_that_goes_away_while_it_is_read_ends_whole_or_in_an_error")
class EndsWhenItIsGone(Right):
    def open(self, entry, start=0, stop=None):
        super().open(entry)
        return LiveStream(self, entry.key)


@caught_by("test_11_a_key_that_cannot_be_is_refused_or_not_found")
class TripsOverNul(Right):
    def stat(self, key):
        if "\0" in key:
            raise ValueError("embedded null byte")
        return super().stat(key)


@caught_by("test_12_close_may_be_called_twice")
class ClosesOnce(Right):
    open_still = True

    def close(self):
        if not self.open_still:
            raise ValueError("closed already")
        self.open_still = False


@caught_by("test_12_a_stream_may_be_closed_before_its_end")
class StreamsMustEnd(Right):
    def open(self, entry, start=0, stop=None):
        stream = super().open(entry, start, stop)

        def close():
            if stream.read(1):
                raise CorruptedError("not read to its end", host=self.uri, key=entry.key)

        stream.close = close
        return stream


@caught_by("test_12_two_instances_work_side_by_side")
class OneThreadOnly(Right):
    owners: ClassVar[dict[str, int]] = {}

    def put(self, entry, body, *, replace=False):
        if self.owners.setdefault(self.uri, threading.get_ident()) != threading.get_ident():
            raise UnavailableError("in use by another thread", host=self.uri, key=entry.key)
        return super().put(entry, body, replace=replace)


@caught_by("test_12_closing_one_instance_leaves_the_other_at_work")
class SharesWhatItCloses(Right):
    closed: ClassVar[set[str]] = set()

    def close(self):
        self.closed.add(self.uri)

    def list(self, prefix=""):
        if self.uri in self.closed:
            raise UnavailableError("closed", host=self.uri)
        return super().list(prefix)


@caught_by("test_13_the_uri_opens_the_same_place_again")
class ForgetsThePath(Right):
    @property
    def uri(self):
        return f"memory://{self.location.host[:-1]}"


@caught_by("test_13_no_text_has_a_secret")
class ShowsASecret(Right):
    def __repr__(self):
        return f"ShowsASecret(password={SECRET!r})"


@caught_by("test_13_no_text_has_a_secret")
class ErrorsShowASecret(Right):
    def stat(self, key):
        try:
            return super().stat(key)
        except NotFoundError as error:
            error.cause = f"login cabinet {SECRET} failed"
            raise


@caught_by("test_14_claims_are_words_of_the_contract")
class ClaimsMuch(Right):
    @property
    def capabilities(self):
        return replace(super().capabilities, preserves=frozenset({"everything"}))


@caught_by("test_14_what_is_claimed_to_be_kept_is_kept")
class DropsTags(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, tags={}), body, replace=replace)


@caught_by("test_14_what_is_claimed_to_be_kept_is_kept")
class StampsItsOwnTime(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, modified=datetime.now(UTC)), body, replace=replace)


@caught_by("test_14_posix_keeps_mode_and_time")
class KeepsNoMode(Right):
    def put(self, entry, body, *, replace=False):
        posix = entry.posix and dataclasses.replace(entry.posix, mode=0o644)
        return super().put(dataclasses.replace(entry, posix=posix), body, replace=replace)


@caught_by("test_14_an_encoded_body_is_not_decoded")
class DecodesBodies(Right):
    def open(self, entry, start=0, stop=None):
        data = super().open(entry).read()
        return BytesStream(gzip.decompress(data) if entry.headers.get("content_encoding") == "gzip" else data)


@caught_by("test_14_directories_and_links_are_kept_or_refused")
class LosesLinkTargets(Right):
    def put(self, entry, body, *, replace=False):
        entry = dataclasses.replace(entry, posix=Posix()) if entry.kind == "link" else entry
        return super().put(entry, body, replace=replace)


@caught_by("test_14_a_claimed_digest_equals_ours")
class EchoesADigest(Right):
    def stat(self, key):
        return replace(super().stat(key), digests={"md5": "d41d8cd98f00b204e9800998ecf8427e"})


@caught_by("test_14_case_matters_as_claimed")
class FoldsCase(Right):
    def put(self, entry, body, *, replace=False):
        return super().put(dataclasses.replace(entry, key=entry.key.lower()), body, replace=replace)


@caught_by("test_15_a_hostile_key_is_kept_exactly_or_refused")
class RenamesTabs(Right):
    def put(self, entry, body, *, replace=False):
        stored = super().put(dataclasses.replace(entry, key=entry.key.replace("\t", "\u2409")), body, replace=replace)
        return dataclasses.replace(stored, key=entry.key)


@caught_by("test_15_a_hostile_key_is_kept_exactly_or_refused")
class RefusesLate(Right):
    def put(self, entry, body, *, replace=False):
        problem = file_path_problem(entry.key)
        if problem:
            raise InvalidKeyError(problem, host=self.uri, key=entry.key)
        return super().put(entry, body, replace=replace)


@caught_by("test_15_all_accepted_keys_live_together")
class SkipsDoubledSlashes(Right):
    def list(self, prefix=""):
        yield from (entry for entry in super().list(prefix) if "//" not in entry.key)


@caught_by("test_15_twins_are_kept_apart_or_the_second_is_refused")
class NormalisesNames(Right):
    def put(self, entry, body, *, replace=False):
        key = unicodedata.normalize("NFC", entry.key)
        return super().put(dataclasses.replace(entry, key=key), body, replace=True)


@caught_by("test_16_every_version_is_listed_newest_first_and_read")
class OldestFirst(Right):
    def list_versions(self, prefix=""):
        yield from reversed([*super().list_versions(prefix)])


@caught_by("test_16_every_version_is_listed_newest_first_and_read")
class OnlyTheNewest(Right):
    def list_versions(self, prefix=""):
        yield from (entry for entry in super().list_versions(prefix) if entry.latest)


@caught_by("test_16_a_delete_marker_is_a_version_and_hides_the_object")
class ListsWhatIsDeleted(Right):
    def list(self, prefix=""):
        yield from {entry.key: entry for entry in self.list_versions(prefix) if entry.kind == "object"}.values()


@caught_by("test_16_a_version_whose_body_fails_is_not_made")
class KeepsPartialVersions(Right):
    def put_version(self, entry, body):
        try:
            return super().put_version(entry, body)
        except ConnectorError:
            held(self, entry, b"partial")
            raise


@caught_by("test_17_describe_says_of_a_listed_entry_what_stat_says")
class DescribesNothingMore(Right):
    def describe(self, entry):
        return entry


@caught_by("test_17_describe_does_not_speak_of_another_version")
class DescribesTheNewest(Right):
    def describe(self, entry):
        return self.stat(entry.key)


@caught_by("test_18_parts_in_any_order_and_sent_again_make_the_object")
class JoinsInOrderOfArrival(Right):
    def finish(self, entry, token, parts, *, replace=False):
        data = b"".join(self.pending.pop(token).values())
        return self.put(entry, BytesStream(data), replace=replace)


@caught_by("test_18_parts_in_any_order_and_sent_again_make_the_object")
class TokensOfOneInstance(Right):
    def __init__(self, location):
        super().__init__(location)
        self.mine = set()

    def begin(self, entry):
        token = super().begin(entry)
        self.mine.add(token)
        return token

    def put_part(self, entry, token, number, body, size):
        if token not in self.mine:
            raise NotFoundError("no such upload", host=self.uri, key=entry.key)
        return super().put_part(entry, token, number, body, size)


@caught_by("test_18_a_part_that_fails_or_has_another_size_is_refused")
class CountsNoParts(Right):
    def put_part(self, entry, token, number, body, size):
        self.pending[token][number] = body.read(-1)
        return str(number)


@caught_by("test_18_finish_refuses_to_replace_unless_asked")
class FinishReplaces(Right):
    def finish(self, entry, token, parts, *, replace=False):
        return super().finish(entry, token, parts, replace=True)


@caught_by("test_18_abort_leaves_nothing")
class AbortsNothing(Right):
    def abort(self, entry, token):
        pass


@caught_by("test_18_finish_refuses_parts_that_do_not_make_the_size")
class FinishesTheUnfinished(Right):
    def finish(self, entry, token, parts, *, replace=False):
        return super().finish(dataclasses.replace(entry, size=None), token, parts, replace=replace)


@caught_by("test_19_what_is_deleted_is_gone")
class DeletesWhatIsNotThere(Right):
    def delete(self, key):
        self._place.things.pop(key, None)


@caught_by("test_20_prepare_makes_the_root_and_keeps_what_is_there")
class PreparesByWiping(Right):
    def prepare(self, keep=()):
        self._place.things.clear()


@caught_by("test_20_prepare_drops_partial_files_but_those_to_keep")
class KeepsNoPartial(Right):
    def prepare(self, keep=()):
        self.pending.clear()


@caught_by("test_20_prepare_drops_partial_files_but_those_to_keep")
class TidiesNothing(Right):
    def prepare(self, keep=()):
        pass


@caught_by("test_21_a_digest_on_request_equals_ours_or_is_not_supported")
class AnswersAnyDigest(Right):
    def digest(self, entry, name):
        return hashlib.sha256(b"").hexdigest()


@caught_by("test_22_free_space_is_a_number_of_bytes_or_not_known")
class SaysFreeSpaceInWords(Right):
    def free(self):
        return "plenty"


@caught_by("test_25_a_setting_that_was_put_is_there_to_another_who_asks")
class TakesSettingsForItself(Right):
    def settings(self):
        return self.__dict__.setdefault("own", {})

    def put_setting(self, setting):
        self.settings()[setting.name] = setting.value


@caught_by("test_24_a_sequential_listing_shows_what_the_other_shows")
class HidesTheLastInSequence(Right):
    def sequential(self):
        return HidesTheLast(self.location)


class HidesTheLast(Right):
    def list(self, prefix=""):
        yield from [*super().list(prefix)][:-1]


@caught_by("test_23_reading_in_bulk_says_what_describe_and_open_say")
class ReadsInBulkWithoutAttributes(Right):
    def read_many(self, entries, width):
        for number, read in super().read_many(entries, width):
            yield number, BulkRead(entry=replace(read.entry, metadata={}), body=read.body)


@caught_by("test_23_reading_in_bulk_says_what_describe_and_open_say")
class GivesTheBodiesOfNeighbours(Right):
    def read_many(self, entries, width):
        read = [*super().read_many(entries, width)]
        yield from ((number, other[1]) for (number, _), other in zip(read, read[1:] + read[:1], strict=True))


@caught_by("test_23_reading_in_bulk_says_what_describe_and_open_say")
class ReadsInBulkButTheLast(Right):
    def read_many(self, entries, width):
        yield from [*super().read_many(entries, width)][:-1]


@caught_by("test_23_reading_in_bulk_refuses_what_plain_reading_refuses")
class ReadsInBulkByName(Right):
    def read_many(self, entries, width):
        for number, entry in enumerate(entries):
            things = self._place.things.get(entry.key)
            yield number, BulkRead(entry=entry, body=things[-1][1] if things else b"")


@caught_by("test_23_putting_in_bulk_returns_what_stat_returns")
class EchoesInBulk(Right):
    def put_many(self, items, width):
        for number, (entry, body) in enumerate(items):
            self.put(entry, BytesStream(body))
            yield number, entry


@caught_by("test_23_putting_in_bulk_replaces_nothing_and_counts")
class ReplacesInBulk(Right):
    def put_many(self, items, width):
        for number, (entry, body) in enumerate(items):
            yield number, held(self, entry, body)


@caught_by("test_23_the_bulk_lane_takes_its_input_as_there_is_room")
class TakesEverythingAtOnce(Right):
    def put_many(self, items, width):
        yield from super().put_many([*items], width)


DECLARED = "test_07_what_is_there_is_not_replaced_unless_asked"


class TestDeclaredAndSeen(RightContract):
    connector = AlwaysReplaces
    limits = {DECLARED: "the host replaces whatever is there"}  # noqa: RUF012 - as an author would write it


class TestDeclaredAndNotSeen(RightContract):
    limits = TestDeclaredAndSeen.limits


for _connectors in WRONG.values():
    for _connector in _connectors:
        _name = f"Test{_connector.__name__}"
        globals()[_name] = type(_name, (RightContract,), {"connector": _connector, "__module__": __name__})
