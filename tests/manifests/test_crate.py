"""The RO-Crate description follows the rules of its specification, and names no key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from manifests.crate import SPECIFICATION, write_crate
from manifests.provenance import Agent, Event, Place

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def entities(**changes: Any) -> dict[str, dict[str, Any]]:
    agent = Agent(role="mover", software={"name": "portability", "version": "0.1.0"})
    place = Place(uri="s3://cabinet", type="s3")
    events = [
        Event(type=kind, start=NOON, end=NOON, agent=agent, outcome=outcome, source=place, counts={"listed": 2})
        for kind, outcome in (("inventory", "success"), ("export", "warning"), ("verification", "fail"))
    ]
    document = json.loads(
        write_crate(
            **{
                "practice": "Cabinet Écho",
                "identifier": "urn:uuid:24e51ca2-5067-4598-935a-dac4e327d05a",
                "created": "2026-11-21T12:00:00Z",
                "lines": 2,
                "octets": 5,
                "folders": ["data/files/", "data/versions/"],
                "described_by": {"metadata/manifest.jsonl": "0" * 64},
                "events": events,
                "software": agent.software,
                **changes,
            }
        )
    )
    assert document["@context"] == f"{SPECIFICATION}/context"
    graph = document["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)  # flattened: one object for each entity
    return {entity["@id"]: entity for entity in graph}


def test_the_descriptor_leads_to_a_root_with_what_a_root_must_have() -> None:
    found = entities()
    descriptor = found["ro-crate-metadata.json"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": SPECIFICATION}
    root = found[descriptor["about"]["@id"]]
    assert (root["@id"], root["@type"]) == ("./", "Dataset")
    assert datetime.fromisoformat(root["datePublished"]) == NOON
    assert root["name"]
    assert root["description"]
    assert "license" not in root
    assert "publisher" not in root


def test_every_reference_within_the_crate_leads_somewhere_and_nothing_is_nested() -> None:
    found = entities()
    for entity in found.values():
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    assert list(one) == ["@id"]
                    assert one["@id"] in found or one["@id"].startswith(("https://w3id.org/", "http://schema.org/"))


def test_folders_are_data_sets_below_the_root_and_actions_say_how_they_ended() -> None:
    found = entities()
    assert [part["@id"] for part in found["./"]["hasPart"]] == ["files/", "versions/"]
    assert {found[name]["@type"] for name in ("files/", "versions/")} == {"Dataset"}
    status = {entity["name"]: entity["actionStatus"]["@id"] for entity in found.values() if "actionStatus" in entity}
    assert {name: uri.rpartition("/")[2] for name, uri in status.items()} == {
        "inventory": "CompletedActionStatus",
        "export": "CompletedActionStatus",
        "verification": "FailedActionStatus",
    }
    assert found["#1-export"]["@type"] == "CreateAction"
    assert found["#1-export"]["result"] == {"@id": "./"}


def test_it_has_about_a_dozen_entities_however_large_the_archive_is() -> None:
    assert 8 <= len(entities(lines=10**9)) <= 16
