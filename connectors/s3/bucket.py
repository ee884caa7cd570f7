"""A bucket's own settings: what the host says of them, and what another bucket recorded put here, where it fits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from connectors.errors import ConnectorError, UnsupportedError
from connectors.protocols import Setting
from connectors.s3.errors import code_of

Call = Callable[..., dict[str, Any]]

_ASKED = {
    "location": "get_bucket_location",
    "versioning": "get_bucket_versioning",
    "lifecycle": "get_bucket_lifecycle_configuration",
    "policy": "get_bucket_policy",
    "cors": "get_bucket_cors",
    "object_lock": "get_object_lock_configuration",
    "encryption": "get_bucket_encryption",
    "tags": "get_bucket_tagging",
}
_GIVEN = {
    "versioning": ("put_bucket_versioning", "VersioningConfiguration"),
    "object_lock": ("put_object_lock_configuration", ""),
    "encryption": ("put_bucket_encryption", ""),
    "cors": ("put_bucket_cors", "CORSConfiguration"),
    "tags": ("put_bucket_tagging", "Tagging"),
    "lifecycle": ("put_bucket_lifecycle_configuration", "LifecycleConfiguration"),
}
"""What is put here -> the request, and the member of it that holds the setting ("": the setting is the request's members)."""
_DESCRIBED = frozenset({"uri", "endpoint", "region", "location", "listed_by", "listed"})
"""What says where and what the other place was: nothing to put anywhere."""
_NOT_KNOWN_THERE = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_LOCK = "ObjectLockConfiguration"
_SMALL = "TransitionDefaultMinimumObjectSize"
LOCKED_THERE = (
    "its rules may remove here what a lock kept there; let the objects have their locks again too, or set it by hand"
)
NAMES_THE_OLD = "it names buckets and accounts of the old host; set one by hand that names those of this place"


def settings(call: Call) -> dict[str, Any]:
    """Name -> the host's answer as plain JSON, or `{"not_told": code}` where it has none or hides it."""
    told: dict[str, Any] = {}
    for name in _ASKED:
        try:
            told[name] = _asked(call, name)
        except ConnectorError as error:
            told[name] = {"not_told": code_of(error) or type(error).__name__}
    return told


def fit(recorded: Mapping[str, Any], *, whole: bool, locks: bool) -> Iterator[Setting]:
    """What `settings` recorded of another place, as a bucket may be given it, in the order in which it may be.
    `whole`: the place here is all of its bucket. `locks`: objects are given their locks here, too."""
    for name in (*_GIVEN, *sorted(recorded.keys() - _GIVEN.keys() - _DESCRIBED)):
        value = recorded.get(name)
        if not isinstance(value, Mapping) or not value:
            continue  # it had none
        code = value.get("not_told")
        if code is not None:
            if not _is_none(str(code)) and code not in _NOT_KNOWN_THERE:
                yield Setting(name=name, refused=f"the old host did not tell it ({code})")
        elif name == "policy":
            yield Setting(name=name, value=value, refused=NAMES_THE_OLD)
        elif name not in _GIVEN:
            yield Setting(name=name, value=value, refused="an S3 bucket is given no such setting")
        elif not whole:
            reason = "the destination is a folder of a bucket, and the setting is the whole bucket's"
            yield Setting(name=name, value=value, refused=reason)
        elif '"arn:' in (text := json.dumps(value)) or '"SSEAlgorithm": "aws:' in text:
            yield Setting(name=name, value=value, refused="it needs keys or accounts of the old host; set it by hand")
        elif not _is_answer(value):
            yield Setting(name=name, value=value, refused="it is not what an S3 host says of such a setting")
        elif name == "lifecycle" and not locks and _LOCK in _mapping(recorded.get("object_lock")):
            yield Setting(name=name, value=value, refused=LOCKED_THERE)
        else:
            yield from _fitted(name, value, of_folder=bool(_folder(str(recorded.get("uri", "")))))


def _is_answer(value: Mapping[str, Any]) -> bool:
    """Whether it has the form of an answer: an archive may be anybody's."""
    lists = [value[member] for member in ("Rules", "TagSet", "CORSRules") if member in value]
    return (
        isinstance(value.get(_LOCK, {}), Mapping)
        and all(isinstance(one, list) and all(isinstance(item, Mapping) for item in one) for one in lists)
        and "Bucket" not in value
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fitted(name: str, value: Mapping[str, Any], *, of_folder: bool) -> Iterator[Setting]:
    if name == "versioning":
        yield from _versioning(value)
    elif name == "object_lock":
        lock = value.get(_LOCK, {})
        yield Setting(name=name, value={_LOCK: {"ObjectLockEnabled": "Enabled"}}, first=True, acts=True)
        if lock.get("Rule"):  # last: what is restored has locks of its own, and must not get one that begins today
            yield Setting(name=name, value=value, acts=True)
    elif name == "lifecycle":
        kept = {"Rules": value.get("Rules", [])}
        if value.get(_SMALL) not in {None, "all_storage_classes_128K"}:
            kept[_SMALL] = value[_SMALL]
        refused = of_folder and re.search(r'"Prefix": "[^"]', json.dumps(kept))
        about = "its rules name keys of the bucket of which a folder was exported; set them by hand"
        yield Setting(name=name, value=kept, acts=True, refused=about if refused else "")
    elif name == "tags" and any(str(tag.get("Key")).startswith("aws:") for tag in value.get("TagSet", [])):
        yield Setting(name=name, value=value, refused="the service itself has set some of them; set yours by hand")
    else:
        yield Setting(name=name, value=value, first=name == "encryption")


def _versioning(value: Mapping[str, Any]) -> Iterator[Setting]:
    """Old versions come back only where they are kept: what was suspended there is turned on here."""
    status = value.get("Status")
    if status in {"Enabled", "Suspended"}:
        yield Setting(name="versioning", value={"Status": "Enabled"}, first=True)
    if status == "Suspended":
        reason = "old versions come back only where versioning is on; suspend it by hand when the restore is proven"
        yield Setting(name="suspension", value=value, refused=reason)
    if value.get("MFADelete") == "Enabled":
        yield Setting(name="mfa_delete", value=value, refused="only the owner of the account sets it, with a device")


def state(call: Call, setting: Setting) -> Literal["equal", "free", "other"]:
    """Asked anew: whether the bucket has this setting, has nothing that it would replace, or has one of its own."""
    found, wanted = told(call, setting.name), _in_order(dict(setting.value))
    if _holds(found, wanted):
        return "equal"
    if setting.name == "versioning":  # a bucket that never had it may still say that deleting needs no device
        return "other" if found.get("Status") else "free"
    return "free" if _holds(wanted, found) else "other"


def put(call: Call, setting: Setting) -> None:
    operation, member = _GIVEN[setting.name]
    value = dict(setting.value)
    beside = {_SMALL: value.pop(_SMALL)} if _SMALL in value else {}
    call(operation, None, **beside, **({member: value} if member else value))


def told(call: Call, name: str) -> dict[str, Any]:
    """The setting as the host states it now; empty if it has none. ConnectorError where it does not say."""
    try:
        return _asked(call, name)
    except UnsupportedError:
        raise
    except ConnectorError as error:
        if not _is_none(code_of(error)):
            raise
        return {}


def _asked(call: Call, name: str) -> dict[str, Any]:
    answer = call(_ASKED[name], None)
    answer.pop("ResponseMetadata", None)
    told: dict[str, Any] = json.loads(json.dumps(answer, default=str))
    return _in_order(told)


def _in_order(told: dict[str, Any]) -> dict[str, Any]:
    """Hosts list these in any order, and it means nothing; earlier archives have them in their host's."""
    for member, order in (("Rules", "ID"), ("TagSet", "Key")):
        if isinstance(told.get(member), list):
            told[member] = sorted(told[member], key=lambda one: (str(one.get(order)), json.dumps(one, sort_keys=True)))
    return told


def _is_none(code: str) -> bool:
    """Whether an error says that the bucket has no such setting."""
    return (code.startswith("NoSuch") and code != "NoSuchBucket") or "NotFound" in code


def _holds(found: Any, wanted: Any) -> bool:
    """Whether all of `wanted` is in `found`. Hosts add members of their own (identifiers, defaults)."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _holds(found[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_holds(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def _folder(uri: str) -> str:
    """The prefix in an s3 url."""
    return uri.partition("://")[2].partition("?")[0].partition("/")[2].strip("/")
