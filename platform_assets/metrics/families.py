"""The daemon's metrics: their names, labels and meanings, and what each is made of.

Pure functions from what was read to samples; reading belongs to `platform_assets.metrics.exporter`. The table of all
metrics is in docs/operations.md, and a test compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from audit.last_audit import LastAudit
from audit.offset_coverage.coverage import CoverageReport
from platform_core.domain.catalog import Catalog
from platform_core.partitions.freshness import freshness
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_kafka.topics import dlq_name, parked_name

METRICS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "pdp_partitions": (
        ("domain", "state"),
        "Dates in each state. DEAD and ILLEGAL wait for a person: `pdp partitions list --status DEAD`.",
    ),
    "pdp_newest_done_date_timestamp_seconds": (("domain",), "When the newest date that is DONE ended, UTC."),
    "pdp_last_load_timestamp_seconds": (("domain",), "When a date was last loaded into the warehouse."),
    "pdp_delivery_late_seconds": (
        ("domain",),
        "How long the date that is due has been missing, 0 when it is delivered. See `pdp partitions show`.",
    ),
    "pdp_domain_broken": (("domain",), "1 for a domain whose entry has a mistake. `pdp domains` names it."),
    "pdp_offset_gap_records": (
        ("domain",),
        "Committed offsets that are neither in Bronze nor among the dead letters. `pdp audit --stage bronze` has them.",
    ),
    "pdp_offset_coverage_timestamp_seconds": ((), "When all offsets were last compared with Bronze."),
    "pdp_first_date_found_timestamp_seconds": ((), "When the first date was found: how long there is data."),
    "pdp_audit_timestamp_seconds": ((), "When the last audit ended: a whole `pdp audit`, or that of the schedule."),
    "pdp_audit_problems": (("domain", "stage"), "Differences that the last audit could not explain."),
    "pdp_audit_not_checked": (("domain", "stage"), "1 for a stage that the last audit could not look at."),
    "pdp_dead_letters_total": (
        ("topic",),
        "Dead letters that the topic ever had. Look at some with `pdp dlq peek`, mend the cause, `pdp dlq redrive`.",
    ),
    "pdp_dead_letters_kept": (("topic",), "Dead letters that the topic still has, redriven ones included."),
    "pdp_metrics_read_timestamp_seconds": (
        ("source",),
        "When the lake or Kafka was last read for these metrics, or the process began. They are as old as that.",
    ),
}
"""Name to labels and meaning."""

STATES = tuple(state for state in State if state is not State.UNDISCOVERED)

Samples = Iterable[tuple[tuple[str, ...], float]]


def family(name: str, samples: Samples) -> Metric:
    """Return a metric with its samples.

    Args:
        samples: Values of the labels, and the value.
    """
    labels, text = METRICS[name]
    made: GaugeMetricFamily | CounterMetricFamily
    if name.endswith("_total"):
        made = CounterMetricFamily(name.removesuffix("_total"), text, labels=labels)
    else:
        made = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        made.add_metric(values, value)
    return made


def of_partitions(catalog: Catalog, rows: Sequence[Partition], now: datetime) -> Iterator[Metric]:
    """Yield the states of dates and what is delivered; a domain without dates has zeros.

    Args:
        rows: All rows of partition_meta, also of domains that the catalog does not have.
        now: The moment to judge, UTC.
    """
    counts = Counter((row.domain, row.status) for row in rows)
    domains = dict.fromkeys([*catalog.names, *(row.domain for row in rows)])
    yield family("pdp_partitions", (((name, state.value), counts[name, state]) for name in domains for state in STATES))
    judged = [freshness(domain, rows, now) for domain in catalog]
    yield family(
        "pdp_newest_done_date_timestamp_seconds",
        (
            ((each.domain,), datetime.combine(each.newest_done + timedelta(days=1), time(), UTC).timestamp())
            for each in judged
            if each.newest_done is not None
        ),
    )
    yield family("pdp_delivery_late_seconds", (((each.domain,), each.late_by.total_seconds()) for each in judged))
    loaded: dict[str, datetime] = {}
    for row in rows:
        if row.processed_at is not None:
            loaded[row.domain] = max(row.processed_at, loaded.get(row.domain, row.processed_at))
    if found := [row.created_at for row in rows if row.created_at is not None]:
        yield family("pdp_first_date_found_timestamp_seconds", [((), min(found).timestamp())])
    yield family("pdp_last_load_timestamp_seconds", (((name,), at.timestamp()) for name, at in loaded.items()))


def of_catalog(catalog: Catalog) -> Iterator[Metric]:
    """Yield which domains have a mistake."""
    broken = {**dict.fromkeys(catalog.names, 0), **dict.fromkeys(catalog.broken, 1)}
    yield family("pdp_domain_broken", (((name,), value) for name, value in broken.items()))


def of_coverage(report: CoverageReport) -> Iterator[Metric]:
    """Yield what is missing between Kafka and Bronze; nothing before the first look."""
    if report.looked_at is None:
        return
    yield family("pdp_offset_coverage_timestamp_seconds", [((), report.looked_at.timestamp())])
    missing = {name: sum(gap.offsets.count for gap in each.gaps) for name, each in report.domains.items()}
    yield family("pdp_offset_gap_records", (((name,), count) for name, count in missing.items()))


def of_audit(last: LastAudit | None) -> Iterator[Metric]:
    """Yield what the last audit found; nothing if there was none."""
    if last is None:
        return
    yield family("pdp_audit_timestamp_seconds", [((), last.at.timestamp())])
    stages = [((each.domain, each.stage.value), each) for each in last.stages]
    yield family("pdp_audit_problems", ((labels, each.problems) for labels, each in stages))
    yield family("pdp_audit_not_checked", ((labels, not each.checked) for labels, each in stages))


def dead_letter_topics(catalog: Catalog) -> list[str]:
    """Return the topics that dead letters are on."""
    return [name for domain in catalog for name in (dlq_name(domain), parked_name(domain))]


def of_dead_letters(bounds: Mapping[str, Mapping[int, tuple[int, int]]]) -> Iterator[Metric]:
    """Yield how many dead letters there were and are.

    Args:
        bounds: Topic and Kafka partition to the first offset that is kept and the next one.
    """
    ends = {name: sum(high for _, high in of.values()) for name, of in bounds.items()}
    kept = {name: sum(high - low for low, high in of.values()) for name, of in bounds.items()}
    yield family("pdp_dead_letters_total", (((name,), count) for name, count in ends.items()))
    yield family("pdp_dead_letters_kept", (((name,), count) for name, count in kept.items()))
