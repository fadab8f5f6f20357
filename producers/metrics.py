"""What a producer counts and measures, as Prometheus metrics.

Only names, labels and help texts belong here; when something happened is reported by `producers.delivery` and
`producers.source_probe`. The table of all metrics is in docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from producers.postgres.fence import FencedReader


class ProducerMetrics:
    """One domain's metrics in a registry of their own.

    Args:
        domain: The value of the label `domain`.
        on_delivered: Called when records were acknowledged.
    """

    def __init__(self, domain: str, *, on_delivered: Callable[[], None] = lambda: None) -> None:
        self.registry = CollectorRegistry()
        self._domain = domain
        self._on_delivered = on_delivered

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(name, documentation, ["domain", *labels], registry=self.registry)

        def gauge(name: str, documentation: str) -> Gauge:
            return Gauge(name, documentation, ["domain"], registry=self.registry)

        self._records = counter("pdp_producer_records", "Records that Kafka acknowledged.").labels(domain)
        self._bytes = counter("pdp_producer_bytes", "Bytes of the values of acknowledged records.").labels(domain)
        self._refused = counter("pdp_producer_refused", "Records that went to the dead-letter topic, by why.", "reason")
        self._failures = counter("pdp_producer_delivery_failures", "Records that Kafka did not acknowledge.").labels(
            domain
        )
        self._last_success = gauge(
            "pdp_producer_last_success_timestamp_seconds", "When the last round ended well, 0 before the first."
        ).labels(domain)
        self._interval = gauge("pdp_producer_interval_seconds", "From the start of one round to that of the next.")
        self._watermark_age = gauge(
            "pdp_cdc_watermark_age_seconds", "How far the watermark was behind the database's clock at the last poll."
        )
        self._held_polls = gauge("pdp_cdc_held_polls", "Polls whose window an open transaction keeps from closing.")

    def runs_every(self, interval_seconds: float) -> None:
        """Note the time from one round to the next; a source that runs once has none."""
        self._interval.labels(self._domain).set(interval_seconds)

    def delivered(self, records: int, size_bytes: int, refused: Mapping[str, int]) -> None:
        """Count what one call of `Delivery.deliver` confirmed.

        Args:
            records: Records on the domain's own topic.
            size_bytes: Bytes of their values.
            refused: Records on the dead-letter topic, by reason.
        """
        self._records.inc(records)
        self._bytes.inc(size_bytes)
        for reason, count in refused.items():
            self._refused.labels(self._domain, reason).inc(count)
        self._on_delivered()

    def failed(self, records: int) -> None:
        """Count records that were given up; their source sends them again."""
        self._failures.inc(records)

    def succeeded(self) -> None:
        """Note that a round ended well just now."""
        self._last_success.set_to_current_time()

    def polled(self, reader: FencedReader) -> None:
        """Take over how far a polled table was read; domains that are not polled have no such metrics."""
        self._watermark_age.labels(self._domain).set(reader.watermark_age_seconds)
        self._held_polls.labels(self._domain).set(len(reader.position.polls))
