"""What the sink counts and measures, as Prometheus metrics, and the progress line of its log.

Each metric's name, labels, meaning and remedy stand here and in its help text; when something happened is told by
`sink.loop`. The table of all metrics is in docs/operations.md, and a test compares them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter as Counts
from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from platform_kafka.records import Message, TopicPartition
from sink.decoding import Refusal

log = logging.getLogger(__name__)

REPORT_SECONDS = 30.0
LOGGED_REFUSALS = 10

# The lag is read from the client's cache; a scraper asks every 15 s or so.
LAG_SECONDS = 5.0

# A metric that only counts needs no remedy.
NOTHING = ""

PUT_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class SinkMetrics:
    """The sink's metrics in a registry of their own.

    Args:
        now: Where the first progress line's period begins.
    """

    def __init__(self, now: datetime) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = self._counter, self._gauge
        self.records = counter(
            "pdp_sink_records",
            "Records taken from Kafka.",
            "If it stands still while the lag grows, see pdp_sink_paused and the log.",
            "topic",
        )
        self.bytes = counter("pdp_sink_bytes", "Bytes of their values.", NOTHING, "topic")
        self.recognised = counter(
            "pdp_sink_recognised_records",
            "Records that a killed process had stored already, and that were not written again.",
            "If it grows without a kill -9, look for what ends the sink's processes.",
        )
        self.refused = counter(
            "pdp_sink_dead_letters",
            "Records sent to a dead-letter topic.",
            "Look at some with `pdp dlq peek`; mend the producer or the contract, then `pdp dlq redrive`.",
            "topic",
            "reason",
        )
        self.flushes = counter(
            "pdp_sink_flushes",
            "Files written, by why their buffer was closed.",
            "Mostly `memory`: raise SINK_MAX_BUFFERED_BYTES.",
            "reason",
        )
        self.rows = counter("pdp_sink_rows_written", "Rows in those files.", NOTHING, "topic")
        self.file_bytes = counter("pdp_sink_bytes_written", "Bytes of those files.", NOTHING, "topic")
        self.put_seconds = Histogram(
            "pdp_sink_put_seconds",
            "Time to encode and put one file. If it grows, look at the store.",
            buckets=PUT_SECONDS,
            registry=self.registry,
        )
        self.store_failures = counter(
            "pdp_sink_store_failures",
            "Failed attempts to put a file.",
            "The sink keeps the records and tries again; mend the store, its credentials or its address.",
        )
        self.commit_failures = counter(
            "pdp_sink_commit_failures",
            "Failed offset commits.",
            "The sink tries again; if they go on, look at the brokers.",
        )
        self.lag = gauge(
            "pdp_sink_lag_records",
            "Records that wait in Kafka.",
            "If it grows, start another sink, or mend what pauses this one.",
            "topic",
            "partition",
        )
        self.oldest = gauge(
            "pdp_sink_oldest_unflushed_seconds",
            "Age of the oldest buffered record, 0 without one.",
            "Above SINK_FLUSH_INTERVAL_SECONDS the store takes nothing: see pdp_sink_store_failures_total.",
        )
        self.buffered_records = gauge("pdp_sink_buffered_records", "Records in memory.", NOTHING)
        self.buffered_bytes = gauge(
            "pdp_sink_buffered_bytes",
            "Estimated bytes in memory.",
            "At SINK_MAX_BUFFERED_BYTES the sink takes nothing more: see pdp_sink_store_failures_total.",
        )
        self.open_letters = gauge(
            "pdp_sink_open_dead_letters",
            "Dead letters that Kafka has not confirmed.",
            "If it does not fall, look at the dead-letter topic's brokers.",
        )
        self.paused = gauge(
            "pdp_sink_paused",
            "1 while the sink takes nothing from Kafka.",
            "See pdp_sink_store_failures_total and pdp_sink_open_dead_letters.",
        )
        self._since = now
        self._next_lag = 0.0
        self._measured = (0, 0, 0.0, False)
        self._records = self._files = self._rows = 0
        self._refusals: Counts[str] = Counts()

    def _counter(self, name: str, meaning: str, remedy: str, *labels: str) -> Counter:
        return Counter(name, f"{meaning} {remedy}".strip(), labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, remedy: str, *labels: str) -> Gauge:
        return Gauge(name, f"{meaning} {remedy}".strip(), labels, registry=self.registry)

    def took(self, topic: str, records: int, size: int) -> None:
        """Count records of one batch."""
        self._records += records
        self.records.labels(topic).inc(records)
        self.bytes.labels(topic).inc(size)

    def wrote(self, topic: str, rows: int, size: int, reason: str) -> None:
        """Count a file."""
        self._files += 1
        self._rows += rows
        self.flushes.labels(reason).inc()
        self.rows.labels(topic).inc(rows)
        self.file_bytes.labels(topic).inc(size)

    def refuse(self, message: Message, refusal: Refusal) -> None:
        """Count a refusal; the first few of each reason in a period are also logged, a flood of them is not."""
        self.refused.labels(message.topic(), refusal.reason).inc()
        self._refusals[refusal.reason] += 1
        if self._refusals[refusal.reason] <= LOGGED_REFUSALS:
            log.warning(
                "record_refused topic=%s partition=%d offset=%d reason=%s error=%s",
                message.topic(),
                message.partition(),
                message.offset(),
                refusal.reason,
                refusal.message,
            )

    def measure(self, *, oldest: float, rows: int, size: int, open_letters: int, paused: bool) -> None:
        """Set the gauges that every step knows."""
        self._measured = (rows, size, oldest, paused)
        self.oldest.set(oldest)
        self.buffered_records.set(rows)
        self.buffered_bytes.set(size)
        self.open_letters.set(open_letters)
        self.paused.set(paused)

    def lag_due(self, now: datetime) -> bool:
        """Tell whether `report` wants the lag: every few seconds, and for the progress line."""
        if time.monotonic() < self._next_lag and not self._line_due(now):
            return False
        self._next_lag = time.monotonic() + LAG_SECONDS
        return True

    def report(self, now: datetime, lag: Mapping[TopicPartition, int]) -> None:
        """Set the lag; when its period is over, write the progress line and begin the next one."""
        self.lag.clear()
        for (topic, partition), records in lag.items():
            self.lag.labels(topic, partition).set(records)
        if not self._line_due(now):
            return
        log.info(
            "sink_progress records_per_second=%.0f lag=%d buffered_records=%d buffered_bytes=%d"
            " oldest_unflushed_seconds=%.0f files=%d rows_written=%d refused=%d paused=%s",
            self._records / (now - self._since).total_seconds(),
            sum(lag.values()),
            *self._measured[:3],
            self._files,
            self._rows,
            self._refusals.total(),
            self._measured[3],
        )
        self._since = now
        self._records = self._files = self._rows = 0
        self._refusals.clear()

    def _line_due(self, now: datetime) -> bool:
        return (now - self._since).total_seconds() >= REPORT_SECONDS
