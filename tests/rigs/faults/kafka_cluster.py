"""The Kafka of production in small: two brokers that are controllers too, and a third controller, each a process.

Nodes are killed and started here; what a test sends through them, and what must come out, is the test's. The quorum is
described in https://kafka.apache.org/documentation/#kraft.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.services.kafka import allow_app, client_env, client_settings
from infra.embedded.services.kafka_node import (
    ADMIN,
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

BROKERS = (1, 2)
CONTROLLER_ONLY = 3
REPLICAS = len(BROKERS)
START_SECONDS = 90.0


class KafkaCluster:
    """Nodes 1 and 2 are brokers and controllers, node 3 is a controller; all keep their ports and data.

    Args:
        root: Folder of the nodes' data, configuration and logs.
        toolchain: Where Java and the jars come from.
    """

    def __init__(self, root: Path, toolchain: Toolchain) -> None:
        self._root = root
        self._toolchain = toolchain
        self._passwords = new_passwords()
        ports = iter(free_ports(3 * len(BROKERS) + 1))
        self._nodes = {
            number: KafkaNode(
                number,
                root / f"node-{number}" / "data",
                next(ports),
                BrokerPorts(next(ports), next(ports)) if number in BROKERS else None,
            )
            for number in (*BROKERS, CONTROLLER_ONLY)
        }
        self._processes: dict[int, ManagedProcess] = {}

    def env(self) -> dict[str, str]:
        """Return the clients' settings, for the app user and for the admin."""
        return client_env(self._servers, self._passwords)

    def __enter__(self) -> Self:
        cluster_id = kafka_uuid()
        for node in self._nodes.values():
            format_storage(node, cluster_id)
        try:
            for number in self._nodes:
                self.start(number)
            wait(lambda: len(self._admin().list_topics(timeout=30).brokers) == len(BROKERS), START_SECONDS)
            allow_app(self._admin_settings())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill what runs."""
        for number in list(self._processes):
            self.stop(number)

    def start(self, number: int) -> None:
        """Start a node on its ports with its data; `wait_in_sync` tells when it takes part again."""
        node = self._nodes[number]
        config = node.data.parent / "server.properties"
        config.write_text(server_properties(node, list(self._nodes.values()), durable=True))
        self._processes[number] = ManagedProcess(
            f"kafka-{number}",
            node_command(self._toolchain, config),
            log=node.data.parent / "kafka.log",
            env=node_environment(self._passwords),
            cwd=node.data.parent,
            secrets=list(self._passwords.values()),
        )

    def stop(self, number: int, grace_seconds: float = 0.0) -> None:
        """End a node by SIGKILL; with a grace by SIGTERM first, so that it hands its partitions over."""
        self._processes.pop(number).stop(grace_seconds)

    def active_controller(self) -> int | None:
        """Return the node that leads the quorum, as the running nodes have stored it; None during an election."""
        newest: tuple[int, int] = (-1, -1)
        for number in self._processes:
            stored = self._nodes[number].data / "__cluster_metadata-0" / "quorum-state"
            with contextlib.suppress(FileNotFoundError):
                state = json.loads(stored.read_text())
                newest = max(newest, (state["leaderEpoch"], state["leaderId"]))
        return newest[1] if newest[1] in self._processes else None

    def wait_in_sync(self, seconds: float = START_SECONDS) -> None:
        """Wait until every partition, Kafka's own too, has all its replicas in sync."""
        wait(self._in_sync, seconds)

    def replicas_in_sync(self) -> dict[tuple[str, int], list[int]]:
        """Return topic and partition to the brokers in sync, of all topics.

        Raises:
            KafkaException: no broker answers.
        """
        topics = self._admin().list_topics(timeout=30).topics
        return {
            (topic, partition): sorted(found.isrs)
            for topic, metadata in topics.items()
            for partition, found in metadata.partitions.items()
        }

    def _in_sync(self) -> bool:
        found = self.replicas_in_sync()
        return bool(found) and all(brokers == list(BROKERS) for brokers in found.values())

    @property
    def _servers(self) -> str:
        return ",".join(f"{LOOPBACK}:{node.broker.client}" for node in self._nodes.values() if node.broker)

    def _admin_settings(self) -> dict[str, str | int | float | bool]:
        return client_settings(self._servers, ADMIN, self._passwords[ADMIN])

    def _admin(self) -> AdminClient:
        # A new client asks whoever runs; an old one may wait for the dead broker that it is connected to.
        return AdminClient(self._admin_settings())


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds; a Kafka client's exception counts as "not yet"."""
    deadline = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except KafkaException as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s" + (f" (last: {last})" if last else ""))
