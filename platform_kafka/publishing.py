"""Sending what is in a raw topic, or was meant for one: the producer's settings, and what an error of a delivery means.

When to send, and what an error costs, belongs to who sends. The producers of new records have a client of their own,
`platform_kafka.clients.connect_producer`.
"""

from __future__ import annotations

import confluent_kafka as ck

from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_kafka.topics import RAW_MAX_MESSAGE_BYTES

REFUSED_FOR_GOOD = frozenset(
    {
        ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ck.KafkaError.GROUP_AUTHORIZATION_FAILED,
        ck.KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
        ck.KafkaError._UNKNOWN_TOPIC,
    }
)
_TOO_LARGE = frozenset(
    {ck.KafkaError.MSG_SIZE_TOO_LARGE, ck.KafkaError.INVALID_MSG_SIZE, ck.KafkaError.RECORD_LIST_TOO_LARGE}
)

DELIVERY_CONFIG: dict[str, str | int | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # Java's: whoever sends a key, it goes to the same partition
}
"""What every producer of records has."""

PRODUCER_CONFIG: dict[str, str | int | bool] = {
    **DELIVERY_CONFIG,
    # A record may decompress to more than the topic's limit, which the broker applies to the compressed batch.
    "message.max.bytes": 16 * RAW_MAX_MESSAGE_BYTES,
    "compression.type": "zstd",
}


class RecordTooLargeError(PermanentError):
    """The broker does not take a record of this size."""


def delivery_error(topic: str, error: ck.KafkaError) -> PlatformError:
    """Return what it means that a record was not delivered."""
    if error.code() in _TOO_LARGE:
        return RecordTooLargeError(f"`{topic}` does not take a record of this size: {error.str()}.")
    if error.code() in REFUSED_FOR_GOOD:
        return PermanentError(
            f"Kafka refuses a record for `{topic}`: {error.str()}. Create the topic with"
            " `python -m producers provision`, or allow the user to write it.",
        )
    return TransientError(f"Publishing to `{topic}` failed: {error.str()}.")
