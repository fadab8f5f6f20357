"""One redrive of a domain at a time: who owns the ledger topic's partition in a consumer group may send.

Only the ownership belongs here. The group's coordinator is the lock's server, and a process that was killed loses it
after the session timeout: https://docs.confluent.io/platform/current/clients/consumer.html#consumer-groups.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import confluent_kafka as ck

from platform_core.errors import TransientError
from platform_kafka.clients import librdkafka

GROUP_PREFIX = "pdp-redrive-"
SESSION_SECONDS = 6.0

# After a kill -9 the dead owner is expelled after the session timeout; a broker that delays the first rebalance
# by its default of 3 s comes on top.
WAIT_SECONDS = SESSION_SECONDS + 6.0


@contextmanager
def exclusive(client_config: dict[str, Any], topic: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a topic with one partition.

    Args:
        client_config: librdkafka's connection settings.

    Yields:
        A function to call at least every five minutes; it raises `TransientError` once the lock is lost.

    Raises:
        TransientError: another process holds the lock.
    """
    consumer = ck.Consumer(
        {
            **client_config,
            "group.id": GROUP_PREFIX + topic,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",  # only the assignment counts, no record is needed
            # The owner keeps its partition when another process joins; an eager strategy would share out anew.
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(SESSION_SECONDS * 1000),
            "heartbeat.interval.ms": 1_000,
        },
        logger=librdkafka,
    )

    def owns(seconds: float) -> bool:
        consumer.poll(seconds)
        return bool(consumer.assignment())

    def keep() -> None:
        if not owns(0):
            raise TransientError(
                f"Another redrive has taken over `{topic}`, because this one was cut off from Kafka. Look at"
                " `pdp dlq list` and run the command again.",
            )

    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + WAIT_SECONDS
        while not owns(0.1):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"Another redrive works on `{topic}`: two at once would send dead letters twice. Wait for it; one"
                    f" that was killed is forgotten after {SESSION_SECONDS:.0f} s.",
                )
        yield keep
    finally:
        consumer.close()
