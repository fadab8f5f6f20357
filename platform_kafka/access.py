"""Who may do what in Kafka: one user a role, and the rules that make it so; everything else is refused.

The roles are listed in docs/operations.md, which a test compares with `rules`. Topics and contracts belong to
`platform_kafka.provision`; the users' passwords to whoever runs the brokers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from platform_core.domain.catalog import Catalog, Domain
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.clients import connect_admin
from platform_kafka.topics import PIPELINE_ALERTS, PROCESSED_EVENTS, SINK_GROUP, dlq_name

REQUEST_SECONDS = 30.0

SINK, ORCHESTRATOR, OPERATOR, REGISTRY, SIMULATION = "sink", "orchestrator", "operator", "registry", "simulation"

_READ = ("READ", "DESCRIBE", "DESCRIBE_CONFIGS")
_WRITE = ("WRITE", "DESCRIBE")


@dataclass(frozen=True)
class AccessRule:
    """What one user may do with one resource.

    Attributes:
        user: The user, without Kafka's `User:`.
        kind: `topic`, `group` or `cluster`.
        name: The resource; with `prefix`, what its name begins with; `*` is all of them.
        operations: Kafka's names of operations.
        prefix: Whether `name` is a beginning.
    """

    user: str
    kind: str
    name: str
    operations: tuple[str, ...]
    prefix: bool = False


def producer_user(domain: str) -> str:
    """Return the user of a domain's producer."""
    return f"producer-{domain}"


def users(catalog: Catalog) -> list[str]:
    """Return the users that have rules, in a fixed order."""
    return list(dict.fromkeys(rule.user for rule in rules(catalog)))


def rules(catalog: Catalog) -> list[AccessRule]:
    """Return every rule of the platform's users. The admin and the brokers are super users and need none."""
    return [*_producers(catalog), *_sink(catalog), *_orchestrator(), *_operator(), *_registry()]


def grant(settings: Settings, catalog: Catalog, *, wait_seconds: float = 60.0) -> dict[str, int]:
    """Create the rules that are missing; rules of before stay.

    Returns:
        Each user, and how many operations its rules allow.

    Raises:
        ConfigurationError: the cluster refuses the admin's credentials.
        TransientError: the cluster does not answer in time.
    """
    admin = connect_admin(settings, wait_seconds=wait_seconds)
    every = rules(catalog)
    bindings = [binding for rule in every for binding in _bindings(rule)]
    try:
        for done in admin.create_acls(bindings, request_timeout=REQUEST_SECONDS).values():
            done.result()
    except KafkaException as error:
        raise TransientError(f"Kafka did not take the access rules: {error.args[0].str()}. Grant them again.") from None
    return {user: sum(len(rule.operations) for rule in every if rule.user == user) for user in users(catalog)}


def _producers(catalog: Catalog) -> Iterator[AccessRule]:
    for domain in catalog:
        user = producer_user(domain.name)
        yield from _sending(user, domain)
        yield from _sending(SIMULATION, domain)  # the simulated shop's past is sent for all domains at once
        yield AccessRule(user, "topic", PIPELINE_ALERTS, _WRITE)


def _sending(user: str, domain: Domain) -> Iterator[AccessRule]:
    yield AccessRule(user, "topic", domain.topic.name, _WRITE)
    yield AccessRule(user, "topic", dlq_name(domain), _WRITE)


def _sink(catalog: Catalog) -> Iterator[AccessRule]:
    for domain in catalog:
        yield AccessRule(SINK, "topic", domain.topic.name, _READ)
        yield AccessRule(SINK, "topic", dlq_name(domain), _WRITE)
    yield AccessRule(SINK, "topic", PROCESSED_EVENTS, _WRITE)
    yield AccessRule(SINK, "topic", PIPELINE_ALERTS, _WRITE)
    yield AccessRule(SINK, "group", SINK_GROUP, ("READ", "DESCRIBE"))


def _orchestrator() -> Iterator[AccessRule]:
    # Discovery, the audit and the alerts read; of the topics it writes to one.
    yield AccessRule(ORCHESTRATOR, "topic", "*", _READ)
    yield AccessRule(ORCHESTRATOR, "topic", PIPELINE_ALERTS, _WRITE)
    yield AccessRule(ORCHESTRATOR, "group", "*", ("DESCRIBE",))


def _operator() -> Iterator[AccessRule]:
    # `pdp`: looks at everything, sends dead letters again, sets the sink's offsets back. Topics are the admin's.
    yield AccessRule(OPERATOR, "topic", "*", (*_READ, "WRITE"))
    yield AccessRule(OPERATOR, "group", "*", ("READ", "DESCRIBE", "DELETE"))


def _registry() -> Iterator[AccessRule]:
    # Its journal and snapshots; other topics are none of its business.
    operations = (*_READ, "WRITE", "CREATE")
    yield AccessRule(REGISTRY, "topic", "kafkasql-", operations, prefix=True)
    yield AccessRule(REGISTRY, "topic", "registry-events", operations)
    yield AccessRule(REGISTRY, "group", "apicurio-", ("READ", "DESCRIBE"), prefix=True)
    yield AccessRule(REGISTRY, "cluster", "kafka-cluster", ("DESCRIBE",))


def _bindings(rule: AccessRule) -> Iterator[AclBinding]:
    kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER}
    pattern = ResourcePatternType.PREFIXED if rule.prefix else ResourcePatternType.LITERAL
    for operation in rule.operations:
        yield AclBinding(
            kinds[rule.kind],
            rule.name,
            pattern,
            f"User:{rule.user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
