"""Which topics exist: a domain must not choose the name of one that is not its own."""

from __future__ import annotations

from platform_core.domain.catalog import load_catalog
from platform_core.domain.topic_names import PLATFORM_TOPICS, topics_beside
from platform_core.settings import REPOSITORY
from platform_kafka.topics import topic_specs


def test_every_topic_is_a_domains_or_has_a_reserved_name() -> None:
    catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    of_domains = {name for d in catalog for name in (d.topic.name, *topics_beside(d.topic.name))}
    assert {spec.name for spec in topic_specs(catalog)} == of_domains | set(PLATFORM_TOPICS)
