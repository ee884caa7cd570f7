"""S3 and everything that speaks it, over botocore: buckets with versions, tags, headers, metadata, multipart uploads.

A place is a bucket and a prefix: `s3://bucket/a/b` holds the keys under `a/b/`, exact to the byte. Objects only: S3 has
no directories, and `x/` is an object whose name ends in a slash.
"""

from __future__ import annotations

from connectors.location import Location
from connectors.s3.client import OPTIONS, settings
from connectors.s3.connector import S3
from connectors.s3.models import warm

__all__ = ["OPTIONS", "S3", "connect", "warm"]


def connect(location: Location) -> S3:
    return S3(location, settings(location))
