"""What an S3 host says of a bucket's own settings: claims, kept beside an archive and restored by hand only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from connectors.errors import ConnectorError
from connectors.s3.errors import code_of

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


def settings(call: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Name -> the host's answer as plain JSON, or `{"not_told": code}` where it has none or hides it."""
    told: dict[str, Any] = {}
    for name, operation in _ASKED.items():
        try:
            answer = call(operation, None)
        except ConnectorError as error:
            told[name] = {"not_told": code_of(error) or type(error).__name__}
            continue
        answer.pop("ResponseMetadata", None)
        told[name] = json.loads(json.dumps(answer, default=str))
    return told
