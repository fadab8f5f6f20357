"""Topics, subjects and their compatibility: brings Kafka and the registry to what domains.yaml and the contracts say.

Everything here may run again and changes only what differs; nothing is ever deleted. Names and topic settings come
from `platform_kafka.topics`; a running producer registers nothing.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from platform_core.clock import Clock, SystemClock
from platform_core.counted import counted
from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.contract_compatibility import COMPATIBILITY, added_fields
from platform_core.domain.released_contracts import ReleasedContract, require_compatible
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.clients import connect_admin, connect_producer
from platform_kafka.registered_versions import registered_versions
from platform_kafka.registry import connect_registry
from platform_kafka.topic_reader import TopicReader, reading_range
from platform_kafka.topics import SCHEMA_CHANGES, TopicSpec, subject_name, topic_specs

log = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0


@dataclass
class ProvisionOutcome:
    """What `provision` found and changed.

    Attributes:
        topics: Topic to `created`, `unchanged`, `changed` (its configuration or partitions were brought in line),
            `kept` (it keeps records longer or takes larger ones than domains.yaml says, and stays so) or `differs` (it
            has more partitions, which cannot be undone).
        subjects: Subject to version and schema id.
        announced: Subjects of which a version was announced on `schema-changes` just now.
    """

    topics: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, dict[str, int]] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)


def provision(
    settings: Settings,
    catalog: Catalog,
    *,
    wait_seconds: float = 60.0,
    lower: bool = False,
    clock: Clock | None = None,
) -> ProvisionOutcome:
    """Create what is missing, bring in line what differs, register every contract, announce new versions.

    Args:
        wait_seconds: How long to wait for Kafka and for the registry.
        lower: Whether the retention and the record size of a topic that were raised are set back.
        clock: For the time of an announcement.

    Raises:
        ConfigurationError: a contract breaks compatibility, or credentials are refused.
        TransientError: a service does not answer in time.
    """
    outcome = ProvisionOutcome()
    admin = connect_admin(settings, wait_seconds=wait_seconds)
    outcome.topics = ensure_topics(admin, topic_specs(catalog), settings.kafka_replication_factor, lower=lower)
    registry = connect_registry(settings, wait_seconds=wait_seconds)
    for domain in catalog:
        outcome.subjects[subject_name(domain)] = register(settings, registry, domain)
    announce(settings, catalog, outcome, clock or SystemClock())
    return outcome


def ensure_topics(
    admin: AdminClient, specs: list[TopicSpec], replication_factor: int, *, lower: bool = False
) -> dict[str, str]:
    """Create missing topics; add partitions and set configuration where an existing one differs.

    Args:
        lower: Whether a retention or a record size that was raised is set back.

    Returns:
        What was done with each topic, see `ProvisionOutcome`.

    Raises:
        ConfigurationError: the cluster has fewer brokers than replicas, or refuses a topic.
    """
    # One replica may be away: with two, writes go on while a broker is down, and the other one has everything.
    minimum = {"min.insync.replicas": str(max(1, replication_factor - 1))}
    specs = [replace(spec, config={**spec.config, **minimum}) for spec in specs]
    existing = admin.list_topics(timeout=REQUEST_SECONDS).topics
    missing = [
        NewTopic(spec.name, spec.partitions, replication_factor, config=spec.config)
        for spec in specs
        if spec.name not in existing
    ]
    created = admin.create_topics(missing, operation_timeout=REQUEST_SECONDS) if missing else {}
    for name, future in created.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _refused(next(spec for spec in specs if spec.name == name), error) from None
    return {
        spec.name: "created"
        if spec.name in created
        else _align(admin, spec, len(existing[spec.name].partitions), lower)
        for spec in specs
    }


def _refused(spec: TopicSpec, error: KafkaException) -> ConfigurationError:
    if error.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
        next_step = "Check `KAFKA_REPLICATION_FACTOR` against the number of brokers"
    else:
        wanted = ", ".join(f"{name}={value}" for name, value in spec.config.items())
        next_step = (
            f"A service that manages Kafka may refuse a setting: bring the topic by its own means to"
            f" {counted(spec.partitions, 'partition')} and {wanted}, and run `provision` again"
        )
    return ConfigurationError(f"Kafka refuses topic `{spec.name}`: {error.args[0].str()}. {next_step}.")


def _align(admin: AdminClient, spec: TopicSpec, partitions: int, lower: bool) -> str:
    outcome = "unchanged"
    if partitions < spec.partitions:
        # Keys move to other partitions; downstream orders by updated_at first, so this is safe.
        log.warning("partitions_added topic=%s before=%d after=%d", spec.name, partitions, spec.partitions)
        admin.create_partitions([NewPartitions(spec.name, spec.partitions)])[spec.name].result()
        outcome = "changed"
    elif partitions > spec.partitions:
        log.warning("partitions_differ topic=%s expected=%d actual=%d", spec.name, spec.partitions, partitions)
        outcome = "differs"
    config = _describe(admin, ConfigResource(ResourceType.TOPIC, spec.name))
    wrong = {name: value for name, value in spec.config.items() if config.get(name) != value}
    raised = (
        {} if lower else {name: value for name, value in wrong.items() if _is_raised(name, config.get(name), value)}
    )
    if raised:
        # Whoever raised it knew why, after an incident for example; lowered, the topic loses records at once.
        actual = {name: config.get(name) for name in raised}
        log.warning("topic_config_kept topic=%s expected=%s actual=%s", spec.name, raised, actual)
        wrong = {name: value for name, value in wrong.items() if name not in raised}
        outcome = "kept" if outcome == "unchanged" else outcome
    if wrong:
        log.warning("topic_config_changed topic=%s config=%s", spec.name, wrong)
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wrong.items()
        ]
        change = ConfigResource(ResourceType.TOPIC, spec.name, incremental_configs=entries)
        try:
            admin.incremental_alter_configs([change])[change].result()
        except KafkaException as error:
            raise _refused(spec, error) from None
        outcome = "changed"
    return outcome


def _is_raised(name: str, actual: str | None, expected: str) -> bool:
    if name not in ("retention.ms", "max.message.bytes") or actual is None:
        return False
    return int(actual) > int(expected) or int(actual) < 0  # -1: for ever


def _describe(admin: AdminClient, resource: ConfigResource) -> dict[str, str | None]:
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        try:
            (future,) = admin.describe_configs([resource]).values()
            return {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            # Metadata of a new topic reaches each broker a little later.
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def register(settings: Settings, registry: SchemaRegistryClient, domain: Domain) -> dict[str, int]:
    """Register a domain's contract and hold its subject to full transitive compatibility.

    Returns:
        `version` and `schema_id`, old ones if the contract has not changed.

    Raises:
        ConfigurationError: the contract cannot be read by, or cannot read, an earlier version; the message
            names the properties.
        TransientError: the registry does not answer.
    """
    subject = subject_name(domain)
    # Before the registry's own check: that one names no field, and Apicurio's takes a typed optional property.
    require_compatible(domain, registered_versions(settings, subject))
    schema = Schema(domain.contract.schema_text, "JSON")
    try:
        registry.register_schema(subject, schema)
        registry.set_compatibility(subject_name=subject, level=COMPATIBILITY)
        found = registry.lookup_schema(subject, schema)
    except SchemaRegistryError as error:
        if error.http_status_code not in (409, 422):
            raise TransientError(
                f"The schema registry cannot register subject `{subject}`: {error}. Run `provision` again.",
            ) from error
        raise ConfigurationError(
            f"Domain `{domain.name}`: the registry refuses the contract `{domain.contract.path}` for subject"
            f" `{subject}` ({COMPATIBILITY}): {error.error_message}. Undo what differs from the version before.",
        ) from None
    return {"version": int(found.version or 0), "schema_id": int(found.schema_id or 0)}


def announce(settings: Settings, catalog: Catalog, outcome: ProvisionOutcome, clock: Clock) -> None:
    """Send each registered version that `schema-changes` does not know yet, in order, keyed by subject.

    Compared with the topic and not with what was just registered: a crash in between loses no announcement, and a
    contract that goes back to an older version announces nothing.

    Raises:
        TransientError: the topic cannot be read or written, or the registry does not answer.
    """
    last = _announced(settings)
    errors: list[KafkaError] = []
    producer = connect_producer(settings, on_failed_delivery=lambda error, _message: errors.append(error), admin=True)
    for domain in catalog:
        subject = subject_name(domain)
        if last.get(subject, 0) >= outcome.subjects[subject]["version"]:
            continue
        before: ReleasedContract | None = None
        for version in registered_versions(settings, subject):
            if version.number > last.get(subject, 0):
                change = _announcement(domain, before, version, clock)
                producer.produce(SCHEMA_CHANGES, json.dumps(change).encode(), subject.encode())
            before = version
        outcome.announced.append(subject)
    if producer.flush(REQUEST_SECONDS) or errors:
        raise TransientError(f"`{SCHEMA_CHANGES}` did not take an announcement; run `provision` again.")


def _announcement(
    domain: Domain, before: ReleasedContract | None, version: ReleasedContract, clock: Clock
) -> dict[str, Any]:
    old = before.schema if before else {}
    return {
        "subject": subject_name(domain),
        "domain": domain.name,
        "version": version.number,
        "previous_version": before.number if before else None,
        "schema_id": version.schema_id,
        "added": added_fields(old, version.schema),
        "removed": added_fields(version.schema, old),
        "compatibility": COMPATIBILITY,
        "announced_at": clock.now().isoformat(),
    }


def _announced(settings: Settings) -> dict[str, int]:
    """Read the compacted topic to its end: subject to the last announced version."""
    with closing(TopicReader(settings, "provision", admin=True)) as reader:
        position, ends = reading_range(SCHEMA_CHANGES, _bounds(reader), {})
        last: dict[str, int] = {}
        for message in reader.read_all(position, ends):
            try:
                last[(message.key() or b"").decode()] = int(json.loads(message.value() or b"{}")["version"])
            except (ValueError, KeyError, TypeError) as error:
                log.warning("announcement_unreadable offset=%d error=%r", message.offset(), error)
        return last


def _bounds(reader: TopicReader) -> dict[int, tuple[int, int]]:
    # Right after the topic was made, its partitions and their leaders are not all known yet.
    deadline = time.monotonic() + REQUEST_SECONDS
    while not (bounds := reader.bounds([SCHEMA_CHANGES]).get(SCHEMA_CHANGES)):
        if time.monotonic() > deadline:
            raise TransientError(f"`{SCHEMA_CHANGES}` has no partitions yet; run `provision` again.")
        time.sleep(0.1)
    return bounds
