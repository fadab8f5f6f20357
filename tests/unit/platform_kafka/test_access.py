"""The access rules of Kafka's users: what each may do, and above all what it may not."""

from __future__ import annotations

import re

import pytest

from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import REPOSITORY, settings
from platform_kafka.access import AccessRule, producer_user, rules


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(settings().domains_file)


def may(every: list[AccessRule], user: str, operation: str, kind: str, name: str) -> bool:
    """Decide as Kafka does: no rule, no right."""
    return any(
        rule.user == user
        and rule.kind == kind
        and operation in rule.operations
        and (rule.name == "*" or (name.startswith(rule.name) if rule.prefix else name == rule.name))
        for rule in every
    )


def test_a_producer_writes_its_own_topics_and_reads_none(catalog: Catalog) -> None:
    every = rules(catalog)
    for domain in catalog:
        user = producer_user(domain.name)
        for other in catalog:
            own = other.name == domain.name
            assert may(every, user, "WRITE", "topic", other.topic.name) is own
            assert may(every, user, "WRITE", "topic", f"dlq-{other.topic.name}") is own
            assert not may(every, user, "READ", "topic", other.topic.name)
        assert not may(every, user, "WRITE", "topic", "processed-events")


def test_the_sink_reads_records_and_writes_none(catalog: Catalog) -> None:
    every = rules(catalog)
    for domain in catalog:
        assert may(every, "sink", "READ", "topic", domain.topic.name)
        assert not may(every, "sink", "WRITE", "topic", domain.topic.name)
    assert may(every, "sink", "READ", "group", "s3-sink-consumer")
    assert not may(every, "sink", "READ", "group", "another")


def test_the_orchestrator_reads_and_moves_no_group(catalog: Catalog) -> None:
    every = rules(catalog)
    assert may(every, "orchestrator", "READ", "topic", "raw-orders")
    assert not may(every, "orchestrator", "WRITE", "topic", "raw-orders")
    assert not may(every, "orchestrator", "READ", "group", "s3-sink-consumer")


def test_nobody_but_the_registry_creates_a_topic_and_only_its_own(catalog: Catalog) -> None:
    every = rules(catalog)
    for rule in every:
        if {"CREATE", "DELETE", "ALTER", "ALTER_CONFIGS"} & set(rule.operations) and rule.kind == "topic":
            assert rule.user == "registry"
    assert may(every, "registry", "CREATE", "topic", "kafkasql-journal")
    assert not may(every, "registry", "WRITE", "topic", "raw-orders")


def test_a_rule_is_said_once(catalog: Catalog) -> None:
    every = [(r.user, r.kind, r.name, r.prefix, operation) for r in rules(catalog) for operation in r.operations]
    assert len(every) == len(set(every))  # Kafka's client refuses two of one kind


def test_the_documented_roles_are_those_of_the_rules(catalog: Catalog) -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("### Users of Kafka", 1)[1].split("\n#", 1)[0]
    documented = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) - {"admin"}
    users = {rule.user for rule in rules(catalog)}
    assert documented == {"producer-<domain>" if user.startswith("producer-") else user for user in users}
