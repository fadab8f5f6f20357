"""One KRaft node as files and a command: its listeners, logins and quorum, its empty storage, its JVM.

Which nodes there are, when they start and what the users may do belongs to whoever runs them. The properties are
described in https://kafka.apache.org/documentation/#configuration, roles and quorum in
https://kafka.apache.org/documentation/#kraft.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import new_password
from infra.embedded.services.small_jvm import SMALL_JVM
from infra.embedded.toolchain.toolchain import Toolchain

APP, ADMIN, BROKER, CONTROLLER = "app", "admin", "broker", "controller"
"""The users: of clients without roles, of who may do everything, of brokers among themselves, of the quorum."""

_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True)
class BrokerPorts:
    """Where a broker listens.

    Attributes:
        client: For clients.
        internal: For the other brokers.
    """

    client: int
    internal: int


@dataclass(frozen=True)
class KafkaNode:
    """A member of the controller quorum, which may be a broker too.

    Attributes:
        node_id: Its number in the cluster.
        data: Folder of its logs and metadata.
        controller_port: Where the quorum reaches it.
        broker: Its ports as a broker; None for a node that is a controller only.
    """

    node_id: int
    data: Path
    controller_port: int
    broker: BrokerPorts | None = None


def format_storage(node: KafkaNode, cluster_id: str) -> None:
    """Do what `kafka-storage format` does for one node, without the second that its JVM takes; keep what is there."""
    meta = node.data / "meta.properties"
    if meta.exists():
        return
    node.data.mkdir(parents=True, exist_ok=True)
    meta.write_text(f"version=1\ncluster.id={cluster_id}\nnode.id={node.node_id}\ndirectory.id={kafka_uuid()}\n")


def kafka_uuid() -> str:
    """Return a random id as Kafka writes them: 22 characters of URL-safe base64."""
    # Kafka's tools take an id with a leading dash for an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def new_passwords(clients: Sequence[str] = (APP,)) -> dict[str, str]:
    """Return a random password for each user of a cluster; `clients` are those besides the admin."""
    return {user: new_password() for user in (*clients, ADMIN, BROKER, CONTROLLER)}


def node_environment(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `server_properties` refers to."""
    return {_variable(user): password for user, password in passwords.items()}


def node_command(toolchain: Toolchain, config: Path) -> list[str | Path]:
    """Return the command line of a node whose properties are in the file `config`."""
    return [
        toolchain.jdk.java,
        # The broker's own memory stays below 170 MB; the rest is room for requests of 10 MB.
        "-Xmx256m",
        *SMALL_JVM,
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        os.pathsep.join(map(str, toolchain.kafka_jars)),
        "kafka.Kafka",
        config,
    ]


def server_properties(
    node: KafkaNode, quorum: Sequence[KafkaNode], *, durable: bool, clients: Sequence[str] = (APP,)
) -> str:
    """Return a node's properties file; passwords are references into its environment.

    Args:
        quorum: All nodes of the cluster, this one too. Kafka's own topics get a replica on up to three of its
            brokers.
        durable: Whether it may be killed and must then come back soon.
        clients: Who may log in as a client, besides the admin.
    """
    replicas = min(3, sum(member.broker is not None for member in quorum))
    properties = {
        "node.id": node.node_id,
        "controller.quorum.voters": ",".join(
            f"{member.node_id}@{LOOPBACK}:{member.controller_port}" for member in quorum
        ),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": logins(CONTROLLER, own=CONTROLLER),
        "config.providers": "env",
        "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
        "config.providers.env.param.allowlist.pattern": "KAFKA_[A-Z0-9_]+_PASSWORD",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:{BROKER};User:{CONTROLLER}",
        "log.dirs": node.data,
        "auto.create.topics.enable": "false",
        "num.network.threads": 2,
        "num.io.threads": 2,
        # The default of 128 MB does not fit the heap, and it is allocated whole. This one is for 58,000 keys of a pass.
        "log.cleaner.dedupe.buffer.size": 2 * 1024 * 1024,
        # 50 partitions of offsets make the first join 3 s slower than 4 do; nobody else joins within 3 s
        # either.
        "offsets.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        # Only what a client may ask for: the fault suite's sinks leave their group 2 s after a kill.
        "group.min.session.timeout.ms": 1000,
        "transaction.state.log.num.partitions": 2,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": 1,
        "default.replication.factor": replicas,
        "min.insync.replicas": 1,
    }
    if durable:
        # After a kill the old session must expire before the node may register again; the default is 9 s.
        properties |= {"broker.session.timeout.ms": 6000, "broker.heartbeat.interval.ms": 1000}
    properties |= _role(node, clients)
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _role(node: KafkaNode, clients: Sequence[str]) -> dict[str, str]:
    controller = f"CONTROLLER://{LOOPBACK}:{node.controller_port}"
    if node.broker is None:
        return {"process.roles": "controller", "listeners": controller}
    listeners = f"CLIENT://{LOOPBACK}:{node.broker.client},INTERNAL://{LOOPBACK}:{node.broker.internal}"
    return {
        "process.roles": "broker,controller",
        "listeners": f"{listeners},{controller}",
        "advertised.listeners": listeners,
        "inter.broker.listener.name": "INTERNAL",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.internal.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": logins(*clients, ADMIN),
        "listener.name.internal.plain.sasl.jaas.config": logins(BROKER, own=BROKER),
    }


def logins(*users: str, own: str | None = None) -> str:
    """Return a JAAS line whose passwords are references into the node's environment.

    Args:
        users: Who may log in.
        own: As whom the node itself logs in to others.
    """
    parts = [f"{_PLAIN} required"]
    if own:
        parts += [f'username="{own}"', f'password="{_password_of(own)}"']
    parts += [f'user_{user}="{_password_of(user)}"' for user in users]
    return " ".join(parts) + ";"


def _password_of(user: str) -> str:
    return f"${{env:{_variable(user)}}}"


def _variable(user: str) -> str:
    return f"KAFKA_{user.upper().replace('-', '_')}_PASSWORD"
