"""A real Kafka broker and controller in one JVM, with SASL on every listener and separate users.

Topics, their sizes and retention belong to the platform, which creates them as the admin user. The mode is
described in https://kafka.apache.org/documentation/#kraft, the logins in
https://kafka.apache.org/documentation/#security_sasl_plain.
"""

from __future__ import annotations

import base64
import os
import uuid
from pathlib import Path

from infra.embedded.ports import LOOPBACK, accepts_connections, free_ports
from infra.embedded.service import EmbeddedService, new_password
from infra.embedded.toolchain import Toolchain

_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_NODE_ID = 1
_APP, _ADMIN, _BROKER, _CONTROLLER = "app", "admin", "broker", "controller"


class Kafka(EmbeddedService):
    """One combined KRaft node; passwords are new at every start and live in its environment only."""

    name = "kafka"

    def __init__(self, root: Path, *, toolchain: Toolchain | None = None, durable: bool = False) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._passwords = {user: new_password() for user in (_APP, _ADMIN, _BROKER, _CONTROLLER)}

    def prepare(self) -> None:
        """Find Java and fetch the jars."""
        _ = self.toolchain.jdk, self.toolchain.kafka_jars

    def launch(self) -> None:
        """Start the node, wait until it serves metadata to the admin, and give the app user its rights."""
        self.port, internal, controller = free_ports(3)
        data = self.root / "data"
        _format(data)
        config = self.root / "server.properties"
        config.write_text(_properties(data, self.port, internal, controller, durable=self.durable))
        process = self._run(
            [
                self.toolchain.jdk.java,
                # The broker's own memory stays below 170 MB; the rest is room for requests of 10 MB.
                "-Xmx256m",
                "-XX:+UseSerialGC",
                # C1 only: C2 never pays off in a broker that idles, and start-up costs half the CPU.
                "-XX:TieredStopAtLevel=1",
                "-Djava.awt.headless=true",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-cp",
                os.pathsep.join(map(str, self.toolchain.kafka_jars)),
                "kafka.Kafka",
                config,
            ],
            env={f"KAFKA_{user.upper()}_PASSWORD": password for user, password in self._passwords.items()},
            secrets=list(self._passwords.values()),
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)
        self._grant()

    def env(self) -> dict[str, str]:
        """Return the clients' settings, for the app user and for the admin."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{self.port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_USERNAME": _APP,
            "KAFKA_PASSWORD": self._passwords[_APP],
            "KAFKA_ADMIN_USERNAME": _ADMIN,
            "KAFKA_ADMIN_PASSWORD": self._passwords[_ADMIN],
        }

    def _client(self, user: str) -> dict[str, str | int | float | bool]:
        return {
            "bootstrap.servers": f"{LOOPBACK}:{self.port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": self._passwords[user],
            "log_level": 0,
        }

    def _answers(self) -> bool:
        # A client that starts too early backs off for seconds, so the port is tried first.
        if not accepts_connections(self.port):
            return False
        from confluent_kafka.admin import AdminClient

        return len(AdminClient(self._client(_ADMIN)).list_topics(timeout=5).brokers) == 1

    def _grant(self) -> None:
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
                f"User:{_APP}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )
            for (kind, pattern), operations in rights.items()
            for operation in operations
        ]
        client = AdminClient(self._client(_ADMIN))
        for done in client.create_acls(bindings, request_timeout=20).values():
            done.result()


def _format(data: Path) -> None:
    """Do what `kafka-storage format` does for one node, without the second that its JVM takes."""
    meta = data / "meta.properties"
    if meta.exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    meta.write_text(f"version=1\ncluster.id={_uuid()}\nnode.id={_NODE_ID}\ndirectory.id={_uuid()}\n")


def _uuid() -> str:
    # Kafka's tools take an id with a leading dash for an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _logins(*users: str, own: str | None = None) -> str:
    """Return a JAAS line whose passwords are references into the broker's environment."""
    parts = [f"{_PLAIN} required"]
    if own:
        parts += [f'username="{own}"', f'password="{_password_of(own)}"']
    parts += [f'user_{user}="{_password_of(user)}"' for user in users]
    return " ".join(parts) + ";"


def _password_of(user: str) -> str:
    return f"${{env:KAFKA_{user.upper()}_PASSWORD}}"


def _properties(data: Path, client: int, internal: int, controller: int, *, durable: bool) -> str:
    listeners = f"CLIENT://{LOOPBACK}:{client},INTERNAL://{LOOPBACK}:{internal}"
    properties = {
        "process.roles": "broker,controller",
        "node.id": _NODE_ID,
        "controller.quorum.voters": f"{_NODE_ID}@{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": listeners,
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map": ("CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT"),
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.internal.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": _logins(_APP, _ADMIN),
        "listener.name.internal.plain.sasl.jaas.config": _logins(_BROKER, own=_BROKER),
        "listener.name.controller.plain.sasl.jaas.config": _logins(_CONTROLLER, own=_CONTROLLER),
        "config.providers": "env",
        "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
        "config.providers.env.param.allowlist.pattern": "KAFKA_[A-Z]+_PASSWORD",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{_ADMIN};User:{_BROKER};User:{_CONTROLLER}",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "num.network.threads": 2,
        "num.io.threads": 2,
        # The default of 128 MB does not fit the heap.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        # 50 partitions of offsets make the first join 3 s slower than 4 do; nobody else joins within 3 s
        # either.
        "offsets.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "transaction.state.log.num.partitions": 2,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
    }
    if durable:
        # After a kill the old session must expire before the node may register again; the default is 9 s.
        properties |= {"broker.session.timeout.ms": 6000, "broker.heartbeat.interval.ms": 1000}
    return "".join(f"{name}={value}\n" for name, value in properties.items())
