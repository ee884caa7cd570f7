"""`portability job-schema`: the JSON Schema of job files."""

from __future__ import annotations

from portability.cli.app import command as make
from portability.cli.screen import Screen


@make(
    "job-schema",
    examples="""
        portability job-schema > job.schema.json
    """,
)
def command(screen: Screen) -> int:
    """Print the JSON Schema of job files."""
    from portability.job_file import dumps_schema, schema

    screen.result(dumps_schema().rstrip(), [schema()])
    return 0
