"""`python -m sink.rewind TOPIC PARTITION OFFSET`: the stopped sink's group is set back, so that it reads again.

The sink then writes what it reads as new files, and Silver keeps one of two rows with the same offset. Nothing is
moved forward: that would lose records. Resetting offsets in general is what Kafka's own `kafka-consumer-groups` does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from platform_core.errors import PermanentError, TransientError
from platform_core.settings import Settings, settings
from platform_core.topics import SINK_GROUP, kafka_client_config

log = logging.getLogger("sink.rewind")

ANSWER_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the group back and return the exit code: 0, 75 if Kafka is out, 78 if it must not be done.

    Args:
        arguments: The command line without the program's name; None is `sys.argv`.
    """
    parser = argparse.ArgumentParser(prog="python -m sink.rewind", description=__doc__)
    parser.add_argument("topic", help="a raw topic")
    parser.add_argument("partition", type=int)
    parser.add_argument("offset", type=int, help="the first offset to read again")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        before = rewind(settings(), options.topic, options.partition, options.offset)
    except PermanentError as error:
        log.error("rewind_refused error=%s", error)
        return os.EX_CONFIG
    except TransientError as error:
        log.error("rewind_failed error=%s", error)
        return os.EX_TEMPFAIL
    log.info(
        "rewound topic=%s partition=%d from=%d to=%d; start the sink again",
        options.topic,
        options.partition,
        before,
        options.offset,
    )
    return os.EX_OK


def rewind(config: Settings, topic: str, partition: int, offset: int) -> int:
    """Commit an earlier offset for the sink's group.

    Args:
        config: Where Kafka is.
        topic: The raw topic.
        partition: The Kafka partition.
        offset: The offset that the sink reads first.

    Returns:
        The offset that was committed before.

    Raises:
        PermanentError: the sink runs, retention has dropped the offset, or it is not behind the committed one.
        TransientError: Kafka did not answer.
    """
    where = f"`{topic}` partition {partition}"
    consumer = ck.Consumer({**kafka_client_config(config), "group.id": SINK_GROUP, "enable.auto.commit": False})
    try:
        (found,) = consumer.committed([ck.TopicPartition(topic, partition)], timeout=ANSWER_SECONDS)
        low, _ = consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
        before = int(found.offset)
        if offset >= before:
            raise PermanentError(
                f"Group `{SINK_GROUP}` has committed {before} of {where} (-1001 is nothing), so that {offset} is not"
                " behind it. Choose an earlier offset.",
                committed=before,
            )
        if offset < low:
            raise PermanentError(
                f"{where} begins at {low}: retention has dropped {offset}. Rewind to {low}; what came before must be"
                " produced again by its source.",
                first=low,
            )
        wanted = ck.ConsumerGroupTopicPartitions(SINK_GROUP, [ck.TopicPartition(topic, partition, offset)])
        admin = AdminClient(kafka_client_config(config))  # held: its answers never come once it was collected
        (done,) = admin.alter_consumer_group_offsets([wanted], request_timeout=ANSWER_SECONDS).values()
        (altered,) = done.result().topic_partitions
        if altered.error is not None:
            raise ck.KafkaException(altered.error)
    except ck.KafkaException as error:
        raise _explained(error.args[0], where) from error
    finally:
        consumer.close()
    return before


def _explained(error: ck.KafkaError, where: str) -> PermanentError | TransientError:
    if error.code() in (ck.KafkaError.UNKNOWN_MEMBER_ID, ck.KafkaError.NON_EMPTY_GROUP):
        return PermanentError(
            f"A sink is running as group `{SINK_GROUP}` and would overwrite the offset of {where}. Stop every sink; one"
            " that was killed leaves the group after 10 s.",
        )
    return TransientError(f"Kafka did not set {where} back: {error.str()}. Try again.")


if __name__ == "__main__":
    sys.exit(main())
