"""For authors of connectors: the contract as a pytest class, and hosts and streams that misbehave on purpose."""

import pytest

# The suite's plain asserts then explain themselves in the author's own test run as well.
pytest.register_assert_rewrite(
    "connectors.testing.base",
    "connectors.testing.reading",
    "connectors.testing.writing",
    "connectors.testing.naming",
    "connectors.testing.abilities",
    "connectors.testing.bulk",
)
