"""What the sink counts and measures, as Prometheus metrics, and the progress line of its log.

Each metric's labels stand in `SinkMetrics`, its meaning and remedy in `HELP`; when something happened is reported by
`sink.loop`. The table of all metrics is in docs/operations.md, and a test compares them.
"""

from __future__ import annotations

import logging
from collections import Counter as Counts
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from platform_kafka.records import Message, TopicPartition
from sink.records.decoding import Refusal

log = logging.getLogger(__name__)

REPORT_SECONDS = 30.0
LOGGED_REFUSALS = 10

# The lag is read from the client's cache; a scraper asks every 15 s or so.
LAG_SECONDS = 5.0

PUT_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


HELP = {
    "pdp_sink_records": "Records taken from Kafka. If it stands still while the lag grows, see pdp_sink_paused and the"
    " log.",
    "pdp_sink_bytes": "Bytes of their values.",
    "pdp_sink_recognised_records": "Records that a killed process had stored already, and that were not written again."
    " If it grows without a kill -9, look for what ends the sink's processes.",
    "pdp_sink_dead_letters": "Records sent to a dead-letter topic. Look at some with `pdp dlq peek`; mend the producer"
    " or the contract, then `pdp dlq redrive`.",
    "pdp_sink_flushes": "Files written, by why their buffer closed. Mostly `memory`: raise SINK_MAX_BUFFERED_BYTES.",
    "pdp_sink_rows_written": "Rows in those files.",
    "pdp_sink_bytes_written": "Bytes of those files.",
    "pdp_sink_last_file_timestamp_seconds": "When the store last took a file of the topic. If it stands still while"
    " the lag grows, see pdp_sink_store_failures_total.",
    "pdp_sink_put_seconds": "Time to put one file. If it grows, look at the store.",
    "pdp_sink_store_failures": "Failed attempts to put a file. The sink keeps the records and tries again; mend the"
    " store, its credentials or its address.",
    "pdp_sink_commit_failures": "Failed offset commits. The sink tries again; if they go on, look at the brokers.",
    "pdp_sink_lag_records": "Records waiting in Kafka. If it grows, start another sink, or mend what pauses this one.",
    "pdp_sink_oldest_unflushed_seconds": "Age of the oldest buffered record, 0 without one. Above"
    " pdp_sink_flush_interval_seconds the store takes nothing: see pdp_sink_store_failures_total.",
    "pdp_sink_flush_interval_seconds": "SINK_FLUSH_INTERVAL_SECONDS, the age at which a buffer is written. It is what"
    " the age of the oldest record is compared with.",
    "pdp_sink_buffered_records": "Records in memory.",
    "pdp_sink_buffered_bytes": "Estimated bytes in memory. At SINK_MAX_BUFFERED_BYTES the sink takes nothing more: see"
    " pdp_sink_store_failures_total.",
    "pdp_sink_open_dead_letters": "Dead letters that Kafka has not confirmed. If it does not fall, look at the"
    " dead-letter topic's brokers.",
    "pdp_sink_topic_paused": "1 for a topic of which no more is read: too much was refused, or no dead letter taken."
    " The sink's health says what to mend.",
    "pdp_sink_paused": "1 while the sink takes nothing from Kafka. See pdp_sink_store_failures_total and"
    " pdp_sink_open_dead_letters.",
}
"""What each metric means, and what to do about it."""


class SinkMetrics:
    """The sink's metrics in a registry of their own.

    Args:
        now: Where the first progress line's period begins, in seconds of a clock that never steps back.
        flush_interval: The age in seconds at which a buffer is written.
    """

    def __init__(self, now: float, flush_interval: float) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = self._counter, self._gauge
        self.records = counter("pdp_sink_records", "topic")
        self.bytes = counter("pdp_sink_bytes", "topic")
        self.recognised = counter("pdp_sink_recognised_records")
        self.refused = counter("pdp_sink_dead_letters", "topic", "reason")
        self.flushes = counter("pdp_sink_flushes", "reason")
        self.rows = counter("pdp_sink_rows_written", "topic")
        self.file_bytes = counter("pdp_sink_bytes_written", "topic")
        self.last_file = gauge("pdp_sink_last_file_timestamp_seconds", "topic")
        name = "pdp_sink_put_seconds"
        self.put_seconds = Histogram(name, HELP[name], buckets=PUT_SECONDS, registry=self.registry)
        self.store_failures = counter("pdp_sink_store_failures")
        self.commit_failures = counter("pdp_sink_commit_failures")
        self.lag = gauge("pdp_sink_lag_records", "topic", "partition")
        self.oldest = gauge("pdp_sink_oldest_unflushed_seconds")
        self.flush_interval = gauge("pdp_sink_flush_interval_seconds")
        self.flush_interval.set(flush_interval)
        self.buffered_records = gauge("pdp_sink_buffered_records")
        self.buffered_bytes = gauge("pdp_sink_buffered_bytes")
        self.open_dead_letters = gauge("pdp_sink_open_dead_letters")
        self.paused = gauge("pdp_sink_paused")
        self.topic_paused = gauge("pdp_sink_topic_paused", "topic")
        self._since = now
        self._next_lag = now
        self._reported = self._totals()
        self._logged_refusals: Counts[str] = Counts()

    def took(self, topic: str, records: int, size: int) -> None:
        """Count records of one batch."""
        self.records.labels(topic).inc(records)
        self.bytes.labels(topic).inc(size)

    def wrote(self, topic: str, rows: int, size: int, reason: str) -> None:
        """Count a file."""
        self.flushes.labels(reason).inc()
        self.rows.labels(topic).inc(rows)
        self.file_bytes.labels(topic).inc(size)
        self.last_file.labels(topic).set_to_current_time()

    def refuse(self, message: Message, refusal: Refusal) -> None:
        """Count a refusal; the first few of each reason in a period are also logged, a flood of them is not."""
        self.refused.labels(message.topic(), refusal.reason).inc()
        self._logged_refusals[refusal.reason] += 1
        if self._logged_refusals[refusal.reason] <= LOGGED_REFUSALS:
            log.warning(
                "record_refused topic=%s partition=%d offset=%d reason=%s error=%s",
                message.topic(),
                message.partition(),
                message.offset(),
                refusal.reason,
                refusal.message,
            )

    def measure(self, *, oldest: float, rows: int, size: int, open_dead_letters: int, paused: bool) -> None:
        """Set the gauges that every step knows."""
        self.oldest.set(oldest)
        self.buffered_records.set(rows)
        self.buffered_bytes.set(size)
        self.open_dead_letters.set(open_dead_letters)
        self.paused.set(paused)

    def report(self, now: float, read_lag: Callable[[], Mapping[TopicPartition, int]]) -> None:
        """Set the lag every few seconds, and write the progress line when its period is over."""
        seconds = now - self._since
        if now < self._next_lag and seconds < REPORT_SECONDS:
            return
        self._next_lag = now + LAG_SECONDS
        self.lag.clear()
        for tp, records in read_lag().items():
            self.lag.labels(*tp).set(records)
        if seconds < REPORT_SECONDS:
            return
        totals = self._totals()
        done = {name: total - self._reported.get(name, 0) for name, total in totals.items()}
        log.info(
            "sink_progress records_per_second=%.0f lag=%d buffered_records=%d buffered_bytes=%d"
            " oldest_unflushed_seconds=%.0f files=%d rows_written=%d refused=%d paused=%s",
            done["pdp_sink_records"] / seconds,
            totals["pdp_sink_lag_records"],
            totals["pdp_sink_buffered_records"],
            totals["pdp_sink_buffered_bytes"],
            totals["pdp_sink_oldest_unflushed_seconds"],
            done["pdp_sink_flushes"],
            done["pdp_sink_rows_written"],
            done["pdp_sink_dead_letters"],
            bool(totals["pdp_sink_paused"]),
        )
        self._since, self._reported = now, totals
        self._logged_refusals.clear()

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(name, HELP[name], labels, registry=self.registry)

    def _gauge(self, name: str, *labels: str) -> Gauge:
        return Gauge(name, HELP[name], labels, registry=self.registry)

    def _totals(self) -> dict[str, float]:
        """The sum over each metric's labels."""
        return {
            metric.name: sum(sample.value for sample in metric.samples if not sample.name.endswith("_created"))
            for metric in self.registry.collect()
        }
