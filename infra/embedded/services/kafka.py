"""A real Kafka broker and controller in one JVM, with SASL on every listener and separate users.

Topics, their sizes and retention belong to the platform, which creates them as the admin user, and so do the roles
(`platform_kafka.access`); a node's properties and storage belong to `kafka_node`. The mode is described in
https://kafka.apache.org/documentation/#kraft, the logins in https://kafka.apache.org/documentation/#security_sasl_plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK, accepts_connections
from infra.embedded.processes.service import EmbeddedService
from infra.embedded.services.kafka_node import (
    ADMIN,
    APP,
    BrokerPorts,
    KafkaNode,
    format_storage,
    kafka_uuid,
    new_passwords,
    node_command,
    node_environment,
    server_properties,
)
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import Catalog
from platform_core.settings import Settings
from platform_kafka import access


class Kafka(EmbeddedService):
    """One combined KRaft node; passwords are new at every start and live in its environment only.

    Args:
        catalog: The domains of a platform whose roles are the users; without, one user sends and reads everything.
    """

    name = "kafka"

    def __init__(
        self,
        root: Path,
        *,
        toolchain: Toolchain | None = None,
        durable: bool = False,
        catalog: Catalog | None = None,
    ) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._catalog = catalog
        self._clients = [APP] if catalog is None else access.users(catalog)
        self._passwords = new_passwords(self._clients)

    def prepare(self) -> None:
        """Find Java and fetch the jars."""
        _ = self.toolchain.jdk, self.toolchain.kafka_jars

    def launch(self) -> None:
        """Start the node, wait until it serves metadata to the admin, and give the users their rights."""
        self.port, internal, controller = self._own_ports(3)
        node = KafkaNode(1, self.root / "data", controller, BrokerPorts(self.port, internal))
        format_storage(node, kafka_uuid())
        config = self.root / "server.properties"
        config.write_text(self._properties(node))
        process = self._run(
            node_command(self.toolchain, config),
            env=node_environment(self._passwords),
            secrets=list(self._passwords.values()),
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)
        if self._catalog is None:
            allow_app(client_settings(self._servers, ADMIN, self._passwords[ADMIN]))
        else:
            access.grant(Settings.of(self.env()), self._catalog)

    def env(self) -> dict[str, str]:
        """Return the clients' settings: for the app user, or with roles the operator, and for the admin."""
        return client_env(self._servers, self._passwords, APP if self._catalog is None else access.OPERATOR)

    def logins(self) -> dict[str, str]:
        """Return the users that log in as clients, and their passwords."""
        return {user: self._passwords[user] for user in (*self._clients, ADMIN)}

    def _properties(self, node: KafkaNode) -> str:
        return server_properties(node, [node], durable=self.durable, clients=self._clients)

    @property
    def _servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def _answers(self) -> bool:
        # A client that starts too early backs off for seconds, so the port is tried first.
        return accepts_connections(self.port) and brokers_known(self._servers, self._passwords[ADMIN]) == 1


def client_env(servers: str, passwords: Mapping[str, str], user: str = APP) -> dict[str, str]:
    """Return the environment variables by which the platform finds a cluster.

    Args:
        servers: Bootstrap servers, separated by commas.
        passwords: User to password.
        user: As whom it asks where it is not the admin.
    """
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": user,
        "KAFKA_PASSWORD": passwords[user],
        "KAFKA_ADMIN_USERNAME": ADMIN,
        "KAFKA_ADMIN_PASSWORD": passwords[ADMIN],
    }


def client_settings(servers: str, user: str, password: str) -> dict[str, str | int | float | bool]:
    """Return the settings of a silent librdkafka client."""
    return {
        "bootstrap.servers": servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
        "log_level": 0,
    }


def brokers_known(servers: str, admin_password: str) -> int:
    """Return how many brokers the cluster says it has, within 5 seconds.

    Raises:
        confluent_kafka.KafkaException: no broker answers.
    """
    from confluent_kafka.admin import AdminClient

    return len(AdminClient(client_settings(servers, ADMIN, admin_password)).list_topics(timeout=5).brokers)


def allow_app(admin: dict[str, str | int | float | bool]) -> None:
    """Let the app user produce, consume and commit everywhere, and neither create nor change a topic."""
    # The package re-exports these without saying so in its type hints.
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AclBinding,
        AclOperation,
        AclPermissionType,
        AdminClient,
        ResourcePatternType,
        ResourceType,
    )

    rights = {
        (ResourceType.TOPIC, "*"): ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"),
        (ResourceType.GROUP, "*"): ("READ", "DESCRIBE"),
        (ResourceType.BROKER, "kafka-cluster"): ("DESCRIBE", "IDEMPOTENT_WRITE"),
    }
    bindings = [
        AclBinding(
            kind,
            pattern,
            ResourcePatternType.LITERAL,
            f"User:{APP}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for (kind, pattern), operations in rights.items()
        for operation in operations
    ]
    client = AdminClient(admin)
    for done in client.create_acls(bindings, request_timeout=20).values():
        done.result()
