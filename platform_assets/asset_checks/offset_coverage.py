"""The check `no_offset_gap` of each domain's Bronze: no committed offset is missing.

A person runs it from the UI, and the sensor `offset_coverage` evaluates the same function. What is a gap belongs to
`audit.offset_coverage.coverage`.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from platform_assets.asset_checks.reported_check import ReportedCheck
from platform_assets.assets.keys import bronze_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.counted import counted
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

if TYPE_CHECKING:
    from audit.offset_coverage.coverage import Coverage, CoverageReport
    from audit.offset_coverage.state import Gap

CHECK = "no_offset_gap"
DESCRIPTION = "Every offset that the sink has committed is in Bronze or among the dead letters"

SHOWN_GAPS = 20


MakeCoverage = Callable[[Settings, Lake, Catalog], "Coverage"]


def open_coverage(settings: Settings, lake: Lake, catalog: Catalog) -> "Coverage":
    """Return the comparison of the offsets that Kafka and the lake have."""
    # Imported late: the sink's modules take 0.2 s, and not every process of the orchestrator compares.
    from audit.offset_coverage.coverage import Coverage

    return Coverage(settings, lake, catalog)


def evaluate(domain: Domain, report: "CoverageReport") -> ReportedCheck:
    """Evaluate the domain's check.

    Args:
        report: The last comparison.
    """
    offsets = report.domains[domain.name]
    facts = {
        "accounted_offsets": offsets.accounted,
        "waiting_offsets": offsets.waiting,
        "gaps": len(offsets.gaps),
        "missing": ", ".join(_shown(gap) for gap in offsets.gaps[:SHOWN_GAPS]) or "none",
        "looked_at": report.looked_at.isoformat() if report.looked_at else "never",
    }
    if offsets.gaps:
        count = sum(gap.last - gap.first + 1 for gap in offsets.gaps)
        missing = f"{counted(count, 'offset')} in {counted(len(offsets.gaps), 'gap')}"
        text = f"Neither in Bronze nor among the dead letters: {missing}."
    elif report.looked_at is None:
        text = "Not looked at yet: Kafka has not answered so far, or the first reading of the ledger goes on."
    else:
        text = "Every committed offset is accounted for."
    if report.looked_at is not None:
        text += f" As of {report.looked_at:%Y-%m-%d %H:%M:%S} UTC."
    signature = ",".join(f"{gap.partition}@{gap.first}-{gap.last}:{gap.still_in_kafka}" for gap in offsets.gaps)
    return ReportedCheck(bronze_key(domain), CHECK, not offsets.gaps, text, facts, signature=signature)


def coverage_check(
    domain: Domain, settings: Settings, coverage: MakeCoverage = open_coverage
) -> dg.AssetChecksDefinition:
    """Return the domain's check, to be run from the UI; it blocks nothing.

    Args:
        coverage: Makes the comparison.
    """
    spec = dg.AssetCheckSpec(CHECK, asset=bronze_key(domain), description=DESCRIPTION)

    @dg.multi_asset_check(name=f"offset_coverage_{domain.name}", specs=[spec])
    def no_offset_gap(metadata_store: MetadataStore) -> Iterator[dg.AssetCheckResult]:
        # Only what the sensor noted: a second writer of the state could put an older one over a newer one.
        yield evaluate(domain, coverage(settings, metadata_store.lake(), Catalog([domain])).known()).result()

    return no_offset_gap


def _shown(gap: "Gap") -> str:
    kept = "" if gap.still_in_kafka else " (no longer in Kafka)"
    return f"{gap.topic}[{gap.partition}] {gap.first}-{gap.last}{kept}"
