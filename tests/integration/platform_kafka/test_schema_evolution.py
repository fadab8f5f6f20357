"""A contract that grows, goes back and breaks: what provisioning, a producer and the announcements make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.errors import ConfigurationError
from platform_kafka.provision import ProvisionOutcome, announce, provision, register
from platform_kafka.registry import registry_client
from platform_kafka.topics import SCHEMA_CHANGES, subject_name
from producers.delivery import Delivery
from tests.rigs.contract_changes import ADDED, UNION, users_version, write_domains

RECORD = {
    "user_id": 1,
    "name": "Ada",
    "email_masked": "a***@example.org",
    "city": "Berlin",
    "tier": "gold",
    "is_active": True,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00Z",
    "extracted_at": "2026-01-03T00:00:00Z",
}


def users(producers_rig: Any, folder: Path, schema: dict[str, Any]) -> Catalog:
    """The producers_rig's users with another contract on the same topic."""
    return load_catalog(write_domains(folder, {"users": schema}, producers_rig.settings.domains_file))


def announcements(producers_rig: Any) -> list[dict[str, Any]]:
    subject = subject_name(producers_rig.catalog["users"])
    messages = [message for message in producers_rig.messages(SCHEMA_CHANGES) if message.key() == subject.encode()]
    return [json.loads(message.value() or b"") for message in messages]


def test_a_chain_of_versions_is_registered_and_each_announced_once(producers_rig: Any, tmp_path: Path) -> None:
    catalogs = {number: users(producers_rig, tmp_path / f"v{number}", users_version(number)) for number in ADDED}
    subject = subject_name(catalogs[1]["users"])
    # Version 2 again is the rollback of 3; afterwards 4 goes on from there.
    for number in (1, 2, 3, 2, 2, 4, 1):
        assert provision(producers_rig.settings, catalogs[number]).subjects[subject]["version"] == number
    told = announcements(producers_rig)
    assert [(one["version"], one["previous_version"]) for one in told] == [(1, None), (2, 1), (3, 2), (4, 3)]
    assert told[0]["added"] == list(users_version(1)["properties"])
    assert [one["added"] for one in told[1:]] == [[ADDED[number]] for number in (2, 3, 4)]
    assert [one["removed"] for one in told] == [[], [], [], []]
    # A producer of any version starts; each frames its records with its own version's id.
    deliveries = {
        number: Delivery.connect(producers_rig.settings, catalog["users"]) for number, catalog in catalogs.items()
    }
    assert {number: d.schema_id for number, d in deliveries.items()} == {o["version"]: o["schema_id"] for o in told}
    for number, delivery in deliveries.items():
        delivery.send({**RECORD, **{ADDED[n]: "x" for n in range(2, number + 1)}})
        assert (receipt := delivery.deliver()).total == 1, receipt
    assert sorted(len(record) for record in producers_rig.records("users")) == [
        len(RECORD) + extra for extra in range(4)
    ]


def test_a_version_that_a_crash_left_unannounced_is_announced_by_the_next_run(
    producers_rig: Any, tmp_path: Path
) -> None:
    catalogs = {number: users(producers_rig, tmp_path / f"v{number}", users_version(number)) for number in (1, 2, 3)}
    provision(producers_rig.settings, catalogs[1])
    registry = registry_client(producers_rig.settings)
    register(producers_rig.settings, registry, catalogs[2]["users"])
    outcome = ProvisionOutcome(
        subjects={subject_name(catalogs[3]["users"]): register(producers_rig.settings, registry, catalogs[3]["users"])}
    )
    for _ in range(2):
        announce(producers_rig.settings, catalogs[3], outcome, SystemClock())
    assert [(one["version"], one["added"]) for one in announcements(producers_rig)][1:] == [
        (2, ["nickname"]),
        (3, ["birthday"]),
    ]


def required(schema: dict[str, Any]) -> None:
    schema["properties"]["phone"] = {"type": "string"}
    schema["required"].append("phone")


def removed(schema: dict[str, Any]) -> None:
    del schema["properties"]["tier"]
    schema["required"].remove("tier")


BREAKING = {
    "required field removed": (removed, "tier", "was removed and is required"),
    "type changed": (lambda c: c["properties"].update(tier={"type": "integer"}), "tier", "changed `type`"),
    "required field added": (required, "phone", "is new and is required"),
    "enum narrowed": (lambda c: c["properties"]["channel"].update(enum=["app"]), "channel", "changed `enum`"),
    "optional of one type": (lambda c: c["properties"].update(nick={"type": ["string", "null"]}), "nick", "any scalar"),
    "decimal widened": (lambda c: c["properties"]["pay"].update({"x-type": "decimal(12,2)"}), "pay", "`x-type`"),
}


@pytest.fixture(scope="module")
def wide() -> dict[str, Any]:
    """The users' contract with a field for each kind of change."""
    schema = users_version(1)
    schema["properties"] |= {
        "channel": {"type": "string", "enum": ["app", "web"]},
        "pay": {"type": "string", "x-type": "decimal(10,2)"},
        "nickname": UNION,
    }
    return schema


def test_a_breaking_change_is_refused_by_field_at_provisioning_and_at_a_producers_start(
    producers_rig: Any, tmp_path: Path, wide: dict[str, Any]
) -> None:
    first = users(producers_rig, tmp_path / "first", wide)
    provision(producers_rig.settings, first)
    # Compatible with the latest version is not enough: the field comes back with another meaning.
    last = json.loads(json.dumps(wide))
    del last["properties"]["nickname"]
    provision(producers_rig.settings, users(producers_rig, tmp_path / "last", last))
    again = (lambda c: c["properties"].update(nickname={"type": "integer"}), "nickname", "changed `type`")
    for name, (change, field, word) in {**BREAKING, "removed field reused": again}.items():
        schema = json.loads(json.dumps(wide))
        change(schema)
        catalog = users(producers_rig, tmp_path / name.replace(" ", "_"), schema)
        for act in (provision, lambda settings, catalog: Delivery.connect(settings, catalog["users"])):
            with pytest.raises(ConfigurationError) as caught:
                act(producers_rig.settings, catalog)
            for text in ("`users`", subject_name(catalog["users"]), f"`{field}`", word, "FULL_TRANSITIVE"):
                assert text in caught.value.message, name
    assert [one["version"] for one in announcements(producers_rig)] == [1, 2]


def test_the_command_of_a_producer_ends_with_the_fields_name(producers_rig: Any, tmp_path: Path) -> None:
    provision(producers_rig.settings, users(producers_rig, tmp_path / "v1", users_version(1)))
    schema = users_version(1)
    removed(schema)
    path = write_domains(tmp_path / "broken", {"users": schema}, producers_rig.settings.domains_file)
    process = producers_rig.command("users", "--once", DOMAINS_FILE=str(path))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: Domain `users`" in err
    assert "`tier` was removed and is required" in err
    assert "Traceback" not in err
