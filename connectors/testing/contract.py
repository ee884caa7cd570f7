"""The conformance suite: subclass `ConnectorContract`, give it a `location` fixture, and pytest runs CONTRACT.md on it."""

from __future__ import annotations

from connectors.testing.abilities import Abilities
from connectors.testing.bulk import BulkLane
from connectors.testing.naming import Naming
from connectors.testing.reading import Reading
from connectors.testing.writing import Writing


class ConnectorContract(Reading, Writing, Naming, Abilities, BulkLane):
    """Every clause of CONTRACT.md. The subclass has one fixture:

        @pytest.fixture
        def location(self) -> Location: ...   # an empty, fresh, existing place

    What else a subclass may say about its host stands in `connectors.testing.base`.
    """
