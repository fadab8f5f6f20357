"""The watch over offsets: the check `no_offset_gap` of each domain's Bronze, and the sensor that raises its alerts.

What is a gap belongs to `audit.offset_coverage.coverage`; here it becomes a check's outcome and an alert. Freshness and
DEAD dates are watched in `watch`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from alerting.channels import Channel, configured
from alerting.collect import offset_gap_alert
from alerting.dispatch import dispatch
from platform_assets.assets.keys import bronze_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.watched import Outcome, Told
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.alerts import Alert, AlertLog
from platform_core.lake.lake import Lake
from platform_core.settings import settings

if TYPE_CHECKING:
    from audit.offset_coverage.coverage import Coverage, CoverageReport, Gap

CHECK = "no_offset_gap"
DESCRIPTION = "Every offset that the sink has committed is in Bronze or among the dead letters"
INTERVAL_SECONDS = 60

SHOWN_GAPS = 20

MakeCoverage = Callable[[Catalog, Lake], "Coverage"]


def evaluate(domain: Domain, report: "CoverageReport") -> Outcome:
    """Evaluate the domain's check.

    Args:
        domain: The domain.
        report: The last look.
    """
    found = report.domains[domain.name]
    facts = {
        "settled_offsets": found.settled,
        "waiting_offsets": found.waiting,
        "duplicate_offsets": found.duplicates,
        "gaps": len(found.gaps),
        "missing": ", ".join(_shown(gap) for gap in found.gaps[:SHOWN_GAPS]) or "none",
        "looked_at": report.looked_at.isoformat() if report.looked_at else "never",
    }
    if found.gaps:
        count = sum(gap.last - gap.first + 1 for gap in found.gaps)
        text = f"{count} offsets in {len(found.gaps)} gaps are neither in Bronze nor among the dead letters."
    elif report.looked_at is None:
        text = "Not looked at yet: Kafka has not answered so far, or the first reading of the ledger goes on."
    else:
        text = "Every committed offset is accounted for."
    if report.looked_at is not None:
        text += f" As of {report.looked_at:%Y-%m-%d %H:%M:%S} UTC."
    missing = ",".join(f"{gap.partition}@{gap.first}-{gap.last}:{gap.still_in_kafka}" for gap in found.gaps)
    return Outcome(bronze_key(domain), CHECK, not found.gaps, text, facts, signature=missing)


def coverage_check(domain: Domain, coverage: MakeCoverage | None = None) -> dg.AssetChecksDefinition:
    """Return the domain's check, to be run from the UI; it blocks nothing.

    Args:
        domain: The domain.
        coverage: Makes the watch from a catalog and the lake.
    """
    make = coverage or _coverage
    spec = dg.AssetCheckSpec(CHECK, asset=bronze_key(domain), description=DESCRIPTION)

    @dg.multi_asset_check(name=f"offset_coverage_{domain.name}", specs=[spec])
    def no_offset_gap(metadata_store: MetadataStore) -> Iterator[dg.AssetCheckResult]:
        # Only what the sensor noted: a second writer of the state could put an older one over a newer one.
        yield evaluate(domain, make(Catalog([domain]), metadata_store.lake()).known()).result()

    return no_offset_gap


def coverage_sensor(
    catalog: Catalog,
    channels: Callable[[], Sequence[Channel]] | None = None,
    clock: Clock | None = None,
    coverage: MakeCoverage | None = None,
) -> dg.SensorDefinition:
    """Return the sensor that compares committed offsets with Bronze and sends an alert for each gap.

    Args:
        catalog: The domains.
        channels: Makes the channels, once a process; those of the settings by default.
        clock: The time.
        coverage: Makes the watch, once a process, from a catalog and the lake.
    """
    clock, make = clock or SystemClock(), coverage or _coverage
    made: list[Channel] = []
    watches: list[Coverage] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name="offset_coverage",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Committed offsets against Bronze and the dead letters: an alert for each gap.",
    )
    def offset_coverage(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        made[:] = made or (channels() if channels else configured(settings()))
        watches[:] = watches or [make(catalog, metadata_store.lake())]
        report, now, told = watches[0].update(), clock.now(), Told.from_json(context.cursor)
        outcomes = [evaluate(domain, report) for domain in catalog]
        done = dispatch(AlertLog(metadata_store.lake(), clock), gap_alerts(report), made, clock)
        # Before the first look nothing is known, which is no outcome.
        to_tell = [o for o in outcomes if report.looked_at is not None and told.must_tell(o, now)]
        failed = ", ".join(outcome.id for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"offset_coverage: complete={report.complete}, gaps in: {failed or 'none'}; {done.raised} alerts raised,"
            f" {done.sent} deliveries, {done.failed} failed deliveries"
        )
        return dg.SensorResult(
            asset_events=[outcome.evaluation() for outcome in to_tell],
            cursor=told.after(outcomes, to_tell, now).to_json(),
        )

    return offset_coverage


def gap_alerts(report: "CoverageReport") -> list[Alert]:
    """Return the alert of each gap, known or not."""
    return [
        offset_gap_alert(
            gap.domain,
            gap.topic,
            gap.partition,
            gap.first,
            gap.last,
            gap.found_at,
            still_in_kafka=gap.still_in_kafka,
        )
        for found in report.domains.values()
        for gap in found.gaps
    ]


def _coverage(catalog: Catalog, lake: Lake) -> "Coverage":
    # Imported late: the sink's modules take 0.2 s, and not every process of the orchestrator looks.
    from audit.offset_coverage.coverage import Coverage

    return Coverage(settings(), lake, catalog)


def _shown(gap: "Gap") -> str:
    kept = "" if gap.still_in_kafka else " (no longer in Kafka)"
    return f"{gap.topic}[{gap.partition}] {gap.first}-{gap.last}{kept}"
