"""The watch over offsets: the check `no_offset_gap` of each domain's Bronze, and the sensor that raises its alerts.

What is a gap belongs to `sink.coverage`; here it becomes a check's outcome and an alert. Freshness and DEAD dates are
watched in `watch`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets.alerts.channels import Channel, configured
from platform_assets.alerts.collect import offset_gap_alert
from platform_assets.alerts.dispatch import dispatch
from platform_assets.keys import bronze_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.watch import REPEAT
from platform_core.alerts import Alert, AlertLog
from platform_core.catalog import Catalog, Domain
from platform_core.clock import Clock, SystemClock
from platform_core.lake import Lake
from platform_core.settings import settings

if TYPE_CHECKING:
    from sink.coverage import Coverage, CoverageReport, Gap

CHECK = "no_offset_gap"
DESCRIPTION = "Every offset that the sink has committed is in Bronze or among the dead letters"
INTERVAL_SECONDS = 60

SHOWN_GAPS = 20

MakeCoverage = Callable[[Catalog, Lake], "Coverage"]


@dataclass(frozen=True)
class Outcome:
    """The check of one domain at one moment.

    Attributes:
        domain: The domain.
        gaps: What is missing.
        description: The result in a sentence.
        facts: What was compared, for the UI.
    """

    domain: Domain
    gaps: tuple["Gap", ...]
    description: str
    facts: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether nothing is missing."""
        return not self.gaps

    @property
    def signature(self) -> str:
        """What is missing, in a form that changes when it does."""
        return ",".join(f"{gap.partition}@{gap.first}-{gap.last}:{gap.still_in_kafka}" for gap in self.gaps)


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
    return Outcome(domain, found.gaps, text, facts)


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
        outcome = evaluate(domain, make(Catalog([domain]), metadata_store.lake()).known())
        yield dg.AssetCheckResult(
            asset_key=bronze_key(domain),
            check_name=CHECK,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=outcome.description,
            metadata=outcome.facts,
        )

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
        report, now, cursor = watches[0].update(), clock.now(), Cursor.from_json(context.cursor)
        outcomes = [evaluate(domain, report) for domain in catalog]
        done = dispatch(AlertLog(metadata_store.lake(), clock), gap_alerts(outcomes), made, clock)
        # Before the first look nothing is known, which is no outcome.
        to_tell = [o for o in outcomes if report.looked_at is not None and cursor.must_tell(o, now)]
        failed = ", ".join(outcome.domain.name for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"offset_coverage: complete={report.complete}, gaps in: {failed or 'none'}; {done.raised} alerts raised,"
            f" {done.sent} deliveries, {done.failed} failed deliveries"
        )
        return dg.SensorResult(
            asset_events=[_evaluation(outcome) for outcome in to_tell],
            cursor=cursor.after(outcomes, to_tell, now).to_json(),
        )

    return offset_coverage


def gap_alerts(outcomes: Iterable[Outcome]) -> list[Alert]:
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
        for outcome in outcomes
        for gap in outcome.gaps
    ]


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers from one tick to the next.

    Attributes:
        told: Domain to what Dagster was told last: what is missing, and when it was told, UTC.
    """

    told: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def must_tell(self, outcome: Outcome, now: datetime) -> bool:
        """Return whether an outcome is news: it changed, or was told long ago."""
        before = self.told.get(outcome.domain.name)
        return before is None or before[0] != outcome.signature or now - before[1] >= REPEAT

    def after(self, outcomes: Iterable[Outcome], told: Iterable[Outcome], now: datetime) -> "Cursor":
        """Return the cursor of the next tick; domains that are gone are forgotten."""
        known = {outcome.domain.name for outcome in outcomes}
        kept = {name: before for name, before in self.told.items() if name in known}
        return Cursor({**kept, **{outcome.domain.name: (outcome.signature, now) for outcome in told}})

    def to_json(self) -> str:
        """Return the cursor as Dagster stores it."""
        return json.dumps({name: [signature, at.isoformat()] for name, (signature, at) in self.told.items()})

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; one that cannot be read, of another version say, is as good as none."""
        try:
            stored = json.loads(text or "{}")
            return cls({str(n): (str(signature), datetime.fromisoformat(at)) for n, (signature, at) in stored.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()


def _coverage(catalog: Catalog, lake: Lake) -> "Coverage":
    # Imported late: the sink's modules take 0.2 s, and not every process of the orchestrator looks.
    from sink.coverage import Coverage

    return Coverage(settings(), lake, catalog)


def _shown(gap: "Gap") -> str:
    kept = "" if gap.still_in_kafka else " (no longer in Kafka)"
    return f"{gap.topic}[{gap.partition}] {gap.first}-{gap.last}{kept}"


def _evaluation(outcome: Outcome) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=bronze_key(outcome.domain),
        check_name=CHECK,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=outcome.description,
        metadata=outcome.facts,
        blocking=False,
    )
