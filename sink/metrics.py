"""What the sink counts and measures, as Prometheus metrics, and the progress line of its log.

Only names, labels and help texts belong here; when something happened is told by `sink.loop`. The table of all
metrics is in docs/operations.md.
"""

from __future__ import annotations

import logging
from collections import Counter as Counts
from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from platform_kafka.records import Message, TopicPartition
from sink.decoding import Refusal

log = logging.getLogger(__name__)

REPORT_SECONDS = 30.0
LOGGED_REFUSALS = 10
PUT_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class SinkMetrics:
    """The sink's metrics in a registry of their own.

    Args:
        now: Where the first progress line's period begins.
    """

    def __init__(self, now: datetime) -> None:
        self.registry = registry = CollectorRegistry()
        self.records = Counter("pdp_sink_records", "Records taken from Kafka.", ["topic"], registry=registry)
        self.bytes = Counter("pdp_sink_bytes", "Bytes of their values.", ["topic"], registry=registry)
        self.recognised = Counter(
            "pdp_sink_recognised_records", "Records that a killed process had stored already.", registry=registry
        )
        self.refused = Counter(
            "pdp_sink_dead_letters", "Records sent to a dead-letter topic.", ["topic", "reason"], registry=registry
        )
        self.flushes = Counter(
            "pdp_sink_flushes", "Files written, by why their buffer was closed.", ["reason"], registry=registry
        )
        self.rows = Counter("pdp_sink_rows_written", "Rows in those files.", ["topic"], registry=registry)
        self.file_bytes = Counter("pdp_sink_bytes_written", "Bytes of those files.", ["topic"], registry=registry)
        self.put_seconds = Histogram(
            "pdp_sink_put_seconds", "Time to encode and put one file.", buckets=PUT_SECONDS, registry=registry
        )
        self.store_failures = Counter("pdp_sink_store_failures", "Failed attempts to put a file.", registry=registry)
        self.commit_failures = Counter("pdp_sink_commit_failures", "Failed offset commits.", registry=registry)
        self.lag = Gauge(
            "pdp_sink_lag_records", "Records that wait in Kafka.", ["topic", "partition"], registry=registry
        )
        self.oldest = Gauge(
            "pdp_sink_oldest_unflushed_seconds", "Age of the oldest buffered record, 0 without one.", registry=registry
        )
        self.buffered_records = Gauge("pdp_sink_buffered_records", "Records in memory.", registry=registry)
        self.buffered_bytes = Gauge("pdp_sink_buffered_bytes", "Estimated bytes in memory.", registry=registry)
        self.open_letters = Gauge(
            "pdp_sink_open_dead_letters", "Letters that Kafka has not confirmed.", registry=registry
        )
        self.paused = Gauge("pdp_sink_paused", "1 while the sink takes nothing from Kafka.", registry=registry)
        self._since = now
        self._records = self._files = self._rows = 0
        self._refusals: Counts[str] = Counts()

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
        self.oldest.set(oldest)
        self.buffered_records.set(rows)
        self.buffered_bytes.set(size)
        self.open_letters.set(open_letters)
        self.paused.set(paused)

    def due(self, now: datetime) -> bool:
        """Tell whether the period of the progress line is over."""
        return (now - self._since).total_seconds() >= REPORT_SECONDS

    def report(
        self, now: datetime, lag: Mapping[TopicPartition, int], *, oldest: float, rows: int, size: int, paused: bool
    ) -> None:
        """Set the lag, write the progress line and begin the next period."""
        self.lag.clear()
        for (topic, partition), records in lag.items():
            self.lag.labels(topic, partition).set(records)
        if not self.due(now):
            return
        log.info(
            "sink_progress records_per_second=%.0f lag=%d buffered_records=%d buffered_bytes=%d"
            " oldest_unflushed_seconds=%.0f files=%d rows_written=%d refused=%d paused=%s",
            self._records / (now - self._since).total_seconds(),
            sum(lag.values()),
            rows,
            size,
            oldest,
            self._files,
            self._rows,
            self._refusals.total(),
            paused,
        )
        self._since = now
        self._records = self._files = self._rows = 0
        self._refusals.clear()
