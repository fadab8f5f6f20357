"""The rules beside the real registry, and what a starting sink learns from it."""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from infra.embedded.services.schema_registry import SchemaRegistry
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.domain.contract_compatibility import breaches
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.registered_versions import registered_versions
from platform_kafka.registry import registry_client
from sink.refusals.contract_check import check_contracts
from tests.rigs.contract_changes import BASE, CHANGES, users_version, write_domains
from tests.rigs.settings_of import settings_of


@pytest.fixture
def client(schema_registry: SchemaRegistry) -> SchemaRegistryClient:
    return registry_client(settings_of(schema_registry.env()))


@pytest.fixture
def configured(schema_registry: SchemaRegistry) -> Settings:
    return settings_of(schema_registry.env())


def takes(client: SchemaRegistryClient, subject: str, schema: dict[str, Any]) -> bool:
    try:
        client.register_schema(subject, Schema(json.dumps(schema), "JSON"))
    except SchemaRegistryError as error:
        assert error.http_status_code in (409, 422)
        return False
    return True


def test_the_rules_never_take_what_the_registry_refuses(client: SchemaRegistryClient) -> None:
    rules, registry = {}, {}
    for change in CHANGES:
        subject = f"{uuid.uuid4().hex}-value"
        assert takes(client, subject, BASE)
        rules[change.name] = not breaches(BASE, change.schema)
        registry[change.name] = takes(client, subject, change.schema)
    stricter = {change.name for change in CHANGES if change.registry_takes}
    assert registry == {name: verdict or name in stricter for name, verdict in rules.items()}


def domain(folder: Path, schema: dict[str, Any], topic: str) -> Domain:
    users = load_catalog(write_domains(folder, {"users": schema}))["users"]
    return users.model_copy(update={"topic": users.topic.model_copy(update={"name": topic})})


def test_a_process_may_be_older_or_newer_than_the_producers(
    client: SchemaRegistryClient, configured: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    topic = f"raw-{uuid.uuid4().hex}"
    for number in (1, 2, 3):
        assert takes(client, f"{topic}-value", users_version(number))
    versions = registered_versions(configured, f"{topic}-value")
    assert [version.number for version in versions] == [1, 2, 3]
    assert [version.schema for version in versions] == [users_version(n) for n in (1, 2, 3)]
    assert len({version.schema_id for version in versions}) == 3
    for number in (1, 3, 4):
        check_contracts(configured, [domain(tmp_path / str(number), users_version(number), topic)])
    assert caplog.text.count("contract_checked domain=users registered_versions=3") == 3


def test_a_contract_that_cannot_read_a_registered_version_is_refused_by_field(
    client: SchemaRegistryClient, configured: Settings, tmp_path: Path
) -> None:
    topic = f"raw-{uuid.uuid4().hex}"
    assert takes(client, f"{topic}-value", users_version(1))
    assert takes(client, f"{topic}-value", users_version(2))
    schema = users_version(1)
    schema["properties"]["nickname"] = {"type": "string"}
    users = domain(tmp_path, schema, topic)
    other = domain(tmp_path / "other", users_version(1), topic).model_copy(update={"name": "other"})
    broken = check_contracts(configured, [users, other])
    assert list(broken) == ["users"] and "`nickname`" in broken["users"].message
    assert "version 1 " in broken["users"].message


def test_an_unknown_subject_has_no_versions(configured: Settings) -> None:
    assert registered_versions(configured, "nobody-value") == []


def test_an_absent_registry_is_an_outage_and_does_not_keep_a_sink_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absent = Settings(schema_registry_url="http://127.0.0.1:1")
    with pytest.raises(TransientError, match="SCHEMA_REGISTRY_URL"):
        registered_versions(absent, "any-value")
    check_contracts(absent, [domain(tmp_path, users_version(1), "any")])
    assert "contracts_unchecked domain=users" in caplog.text
