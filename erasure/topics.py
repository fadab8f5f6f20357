"""A subject's records in Kafka: in the raw topic, which Bronze has read, and among the dead letters.

Kafka deletes a partition's beginning and nothing else. Of a raw topic everything up to the subject's last record goes:
Bronze has it all. Of dead letters the others are written again behind the end, and then the old ones go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from erasure.subject import Holder
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.clients import committed_offsets, connect_admin, connect_producer, through_elections, unanswered
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders, written_again
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import Message, TopicPartition, headers_of
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import SINK_GROUP, dlq_name, parked_name

ANSWER_SECONDS = 30.0
FLUSH_SECONDS = 60.0


@dataclass(frozen=True)
class TopicRecords:
    """What a topic holds.

    Attributes:
        records: All records.
        of_subject: The subject's among them.
        last: The subject's last offset by partition.
        ends: The offset that the next record gets, by partition.
        origins: Of the subject's dead letters, the offsets that they had in the raw topic, by partition.
    """

    topic: str
    records: int
    of_subject: int
    last: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    origins: Mapping[int, OffsetRanges]


class Topics:
    """The topics of one cluster, to be closed when done.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: the cluster does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AdminClient = connect_admin(settings)
        self._reader = TopicReader(settings, "pdp-erase", answer_seconds=ANSWER_SECONDS)

    def close(self) -> None:
        """Give up the connection."""
        self._reader.close()

    @staticmethod
    def of_dead_letters(holder: Holder) -> tuple[str, str]:
        """Return the topics in which the domain's refused records are."""
        return dlq_name(holder.domain), parked_name(holder.domain)

    def count(self, topic: str, holder: Holder) -> TopicRecords:
        """Count a topic's records by reading all of them; a topic that does not exist has none.

        Raises:
            TransientError: Kafka did not answer.
        """
        records, last = 0, dict[TopicPartition, int]()
        of_subject = 0
        ends: dict[TopicPartition, int] = {}
        origins: dict[int, OffsetRanges] = {}
        for message in self._all(topic, ends):
            records += 1
            if holder.names(message.key(), message.value()):
                of_subject += 1
                last[message.topic(), message.partition()] = message.offset()
                origin = DeadLetterHeaders.parse(headers_of(message)).source
                if origin is not None and origin[0] == holder.domain.topic.name:
                    origins[origin[1]] = origins.get(origin[1], OffsetRanges()) | OffsetRanges(((origin[2],) * 2,))
        return TopicRecords(topic, records, of_subject, last, ends, origins)

    def forget_raw(self, found: TopicRecords) -> None:
        """Delete a raw topic's beginning up to the subject's last record, all of which the sink has committed.

        Raises:
            TransientError: the sink has not committed it yet, or Kafka did not answer.
        """
        with self._answering("committed offsets"):
            committed = committed_offsets(self._admin, SINK_GROUP, list(found.last), ANSWER_SECONDS)
        behind = [tp for tp, offset in found.last.items() if committed.get(tp, 0) <= offset]
        if behind:
            raise TransientError(
                f"The sink has not read all of `{found.topic}` yet. Run the command again when `pdp lag` shows none.",
            )
        self._delete_before({tp: offset + 1 for tp, offset in found.last.items()})

    def forget_dead_letters(self, found: TopicRecords, holder: Holder) -> None:
        """Write the dead letters of others again behind the end, then delete all that were before.

        Each keeps its identity, so that a redrive of before is still known.

        A command that is killed in between leaves dead letters twice; they have one origin and count once.

        Raises:
            TransientError: Kafka did not take them all; nothing was deleted.
        """
        failed: list[str] = []
        producer = connect_producer(
            self._settings, on_failed_delivery=lambda error, _: failed.append(str(error)), bulk=True
        )
        partitions = set(found.last)
        for message in self._all(found.topic, dict(found.ends)):
            if (message.topic(), message.partition()) in partitions and not holder.names(
                message.key(), message.value()
            ):
                self._copy(producer, message)
        if producer.flush(FLUSH_SECONDS) or failed:
            reason = failed[0] if failed else "no answer"
            raise TransientError(f"Kafka did not take all dead letters of `{found.topic}`: {reason}. Try again.")
        self._delete_before({tp: found.ends[tp] for tp in partitions})

    def _copy(self, producer: ck.Producer, message: Message) -> None:
        _, milliseconds = message.timestamp()
        while True:
            try:
                producer.produce(
                    message.topic(),
                    message.value(),
                    message.key(),
                    message.partition(),
                    timestamp=max(milliseconds, 0),
                    headers=[*written_again(message)],
                )
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return

    def _all(self, topic: str, ends: dict[TopicPartition, int]) -> Iterator[Message]:
        """Yield a topic's records up to `ends`, or to its end, which is then written there."""
        bounds = {(topic, p): span for p, span in self._reader.bounds([topic]).get(topic, {}).items()}
        for tp, (_, end) in bounds.items():
            ends.setdefault(tp, end)
        yield from self._reader.read_all({tp: first for tp, (first, _) in bounds.items()}, ends)

    def _delete_before(self, offsets: Mapping[TopicPartition, int]) -> None:
        before = [ck.TopicPartition(*tp, offset) for tp, offset in offsets.items()]

        def delete() -> None:
            for each in self._admin.delete_records(before, request_timeout=ANSWER_SECONDS).values():
                each.result()

        with self._answering("the deletion of records"):
            through_elections(delete, ANSWER_SECONDS)

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except ck.KafkaException as error:
            raise unanswered(self._settings, what, error) from error
