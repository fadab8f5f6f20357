from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from pydantic import SecretStr

from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.errors import ConfigurationError, TransientError
from platform_kafka.provision import provision
from platform_kafka.registry import registry_client
from platform_kafka.topics import SCHEMA_CHANGES, dlq_name, kafka_client_config, subject_name
from producers.delivery import Delivery


def announcements(producers_rig: Any, subject: str) -> list[dict[str, Any]]:
    found = [m for m in producers_rig.messages(SCHEMA_CHANGES) if m.key() == subject.encode()]
    return [json.loads(message.value() or b"") for message in found]


def test_twice_changes_nothing(producers_rig: Any) -> None:
    first = provision(producers_rig.settings, producers_rig.catalog)
    second = provision(producers_rig.settings, producers_rig.catalog)
    names = {domain.topic.name for domain in producers_rig.catalog} | {
        dlq_name(domain) for domain in producers_rig.catalog
    }
    assert {first.topics[name] for name in names} == {"created"}
    assert set(second.topics.values()) == {"unchanged"}
    subjects = [subject_name(domain) for domain in producers_rig.catalog]
    assert (first.announced, second.announced) == (subjects, [])
    assert first.subjects == second.subjects
    for domain in producers_rig.catalog:
        (told,) = announcements(producers_rig, subject_name(domain))
        assert (told["domain"], told["version"]) == (domain.name, 1)
        assert told["schema_id"] == first.subjects[subject_name(domain)]["schema_id"]
    registry = registry_client(producers_rig.settings)
    assert {registry.get_compatibility(subject) for subject in subjects} == {"FULL_TRANSITIVE"}


def test_the_level_of_all_other_subjects_is_not_the_platforms(producers_rig: Any) -> None:
    registry = registry_client(producers_rig.settings)
    before = registry.get_compatibility()
    registry.set_compatibility(level="NONE")
    try:
        provision(producers_rig.settings, producers_rig.catalog)
        assert registry.get_compatibility() == "NONE"
        assert registry.get_compatibility(subject_name(producers_rig.catalog["users"])) == "FULL_TRANSITIVE"
    finally:
        registry.set_compatibility(level=before)


def test_an_existing_topic_is_brought_in_line(provisioned: Any) -> None:
    topic = provisioned.catalog["orders"].topic.name
    catalog = changed(provisioned, partitions=3, retention_days=9)
    assert provision(provisioned.settings, catalog).topics[topic] == "changed"
    assert provision(provisioned.settings, catalog).topics[topic] == "unchanged"
    admin = AdminClient(kafka_client_config(provisioned.settings, admin=True))
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 3
    assert retention_days(admin, topic) == 9
    # More partitions than domains.yaml says cannot be undone: reported, and nothing else.
    assert provision(provisioned.settings, provisioned.catalog, lower=True).topics[topic] == "changed"
    assert provision(provisioned.settings, provisioned.catalog, lower=True).topics[topic] == "differs"


def test_a_retention_that_was_raised_stays_until_a_person_says_otherwise(provisioned: Any) -> None:
    topic = provisioned.catalog["orders"].topic.name
    admin = AdminClient(kafka_client_config(provisioned.settings, admin=True))
    provision(provisioned.settings, changed(provisioned, retention_days=9))
    assert provision(provisioned.settings, provisioned.catalog).topics[topic] == "kept"
    assert retention_days(admin, topic) == 9
    assert provision(provisioned.settings, provisioned.catalog, lower=True).topics[topic] == "changed"
    assert retention_days(admin, topic) == 7


def changed(provisioned: Any, **topic: object) -> Catalog:
    document = yaml.safe_load(provisioned.settings.domains_file.read_text())
    document["domains"]["orders"]["topic"] |= topic
    path = provisioned.settings.domains_file.with_name("changed.yaml")
    path.write_text(yaml.safe_dump(document))
    return load_catalog(path)


def retention_days(admin: AdminClient, topic: str) -> float:
    (config,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return int(config.result()["retention.ms"].value) / 86_400_000


def test_a_wrong_password_is_named_and_not_shown(producers_rig: Any) -> None:
    wrong = producers_rig.settings.model_copy(update={"kafka_admin_password": SecretStr("hunter2")})
    with pytest.raises(ConfigurationError, match=r"refuses the credentials of user `admin`.*KAFKA_ADMIN_PASSWORD") as e:
        provision(wrong, producers_rig.catalog)
    assert "hunter2" not in str(e.value)


def test_a_producer_with_a_wrong_password(provisioned: Any) -> None:
    wrong = provisioned.settings.model_copy(update={"kafka_password": SecretStr("hunter2")})
    with pytest.raises(ConfigurationError, match="KAFKA_PASSWORD"):
        Delivery.connect(wrong, provisioned.catalog["users"])


def test_an_absent_registry(producers_rig: Any) -> None:
    away = producers_rig.settings.model_copy(update={"schema_registry_url": "http://127.0.0.1:1"})
    with pytest.raises(TransientError, match="SCHEMA_REGISTRY_URL"):
        provision(away, producers_rig.catalog, wait_seconds=1)


def test_an_unregistered_contract_stops_a_producer(producers_rig: Any) -> None:
    with pytest.raises(ConfigurationError, match="python -m producers provision"):
        Delivery.connect(producers_rig.settings, producers_rig.catalog["users"])
