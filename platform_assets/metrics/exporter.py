"""The daemon's endpoint: metrics of the lake and of Kafka, read in the background and never by a scrape.

A scrape answers what was read last, so that its cost is nothing, and an outage of the lake or of Kafka neither delays
it nor takes the other's metrics away. What they mean belongs to `platform_assets.metrics.families`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from audit import last_audit
from audit.offset_coverage.coverage import Coverage
from platform_assets.metrics import families
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog, configured_catalog
from platform_core.lake.lake import Lake
from platform_core.lake.mount import require_marked
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.probe_server import Health, ProbeServer
from platform_core.settings import Settings
from platform_kafka.topic_reader import TopicReader

log = logging.getLogger(__name__)

READ_SECONDS = 30.0
"""As often as the sensor `watch` reads the same table. A read of partition_meta takes some 100 ms on a local disk."""

OLD_SECONDS = 300.0

Read = Callable[[], Iterable[Metric]]


class MetricsSource:
    """What is read in one go, and what it said last.

    Args:
        read: Reads; whatever it raises leaves what was read before.
    """

    def __init__(self, name: str, read: Read) -> None:
        self.name = name
        self.metrics: Sequence[Metric] = ()
        self.read_at: float | None = None
        self.error = ""
        self._read = read

    def refresh(self) -> None:
        """Read once."""
        try:
            self.metrics = list(self._read())  # one assignment: a scrape sees all of a read, or all of the one before
        except Exception as error:  # a daemon that ticks must not end because its metrics cannot be read
            if not self.error:
                log.warning("metrics_not_read source=%s error=%s", self.name, error)
            self.error = str(error) or type(error).__name__
        else:
            self.read_at, self.error = time.time(), ""


class PlatformMetrics(Collector):
    """Everything that the sources said last, in a registry of its own.

    Args:
        catalog: Its mistakes are known without reading anything.
    """

    def __init__(self, catalog: Catalog, sources: Mapping[str, Read]) -> None:
        self.sources = [MetricsSource(name, read) for name, read in sources.items()]
        self.registry = CollectorRegistry()
        self._catalog = list(families.of_catalog(catalog))
        self._started_at = time.time()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for one scrape."""
        yield from self._catalog
        # A source that was never read is as old as the process: without a value no alert could be raised about it.
        read_at = (((source.name,), source.read_at or self._started_at) for source in self.sources)
        yield families.family("pdp_metrics_read_timestamp_seconds", read_at)
        for source in self.sources:
            yield from source.metrics

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: what there is depends on what was read."""
        return iter(())

    def health(self) -> Health:
        """Return ok, or degraded with the source that cannot be read: no restart mends that."""
        now = time.time()
        ages = {source.name: now - (source.read_at or self._started_at) for source in self.sources}
        old = [f"{each.name}: {each.error}" for each in self.sources if ages[each.name] > OLD_SECONDS and each.error]
        reason = f"The metrics are old, for something cannot be read. {' '.join(old)}" if old else ""
        return Health(True, reason, {f"{name}_read_seconds_ago": round(age, 1) for name, age in ages.items()})


@contextmanager
def served(settings: Settings) -> Iterator[None]:
    """Serve the metrics on `METRICS_PORT` within a block.

    Raises:
        ConfigurationError: the port cannot be listened on, or there is neither a lake nor a list of domains.
    """
    catalog = configured_catalog(settings)
    kafka = TopicReader(settings, "metrics", answer_seconds=5.0)
    metrics = PlatformMetrics(
        catalog, {"lake": _lake_reader(settings, catalog), "kafka": partial(_read_kafka, kafka, catalog)}
    )
    over = threading.Event()
    threads = [threading.Thread(target=_refresh, args=(source, over), daemon=True) for source in metrics.sources]
    for thread in threads:
        thread.start()
    try:
        with ProbeServer.of(settings, metrics.registry, metrics.health):
            yield
    finally:
        over.set()


def _refresh(source: MetricsSource, over: threading.Event) -> None:
    while not over.is_set():
        source.refresh()
        over.wait(READ_SECONDS)


def _lake_reader(settings: Settings, catalog: Catalog) -> Read:
    lake = Lake(settings)
    partitions, coverage, clock = DeltaPartitionMeta(lake), Coverage(settings, lake, catalog), SystemClock()
    marked = False

    def read() -> Iterator[Metric]:
        nonlocal marked
        marked = require_marked(lake, marked)  # an empty folder would say that there is no date
        yield from families.of_partitions(catalog, partitions.rows(), clock.now())
        yield from families.of_coverage(coverage.known())
        yield from families.of_audit(last_audit.load(lake))

    return read


def _read_kafka(reader: TopicReader, catalog: Catalog) -> Iterator[Metric]:
    yield from families.of_dead_letters(reader.bounds(families.dead_letter_topics(catalog)))
