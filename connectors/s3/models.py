"""What botocore knows of S3: read once in a process, for all of its clients, and before copies are made of it for all of theirs."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader


@cache
def models(path: str | None) -> Loader:
    """What reads the models, as a session makes it for itself; `path`: where more of them are (`data_path`)."""
    return create_loader(path)


def warm() -> None:
    """Read what every client needs: nine tenths of what the first one costs."""
    loader = models(None)
    with suppress(BotoCoreError):  # whoever makes a client meets it
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model("s3", kind)
        for name in ("endpoints", "sdk-default-configuration", "partitions"):
            loader.load_data(name)
