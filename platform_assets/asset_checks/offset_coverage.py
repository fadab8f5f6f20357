"""The check `no_offset_gap` of each domain's Bronze: no committed offset is missing.

A person runs it from the UI, and the sensor `offset_coverage` evaluates the same function. What is a gap belongs to
`audit.offset_coverage.coverage`.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from platform_assets.asset_checks.outcome import Outcome
from platform_assets.assets.keys import bronze_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import settings

if TYPE_CHECKING:
    from audit.offset_coverage.coverage import Coverage, CoverageReport, Gap

CHECK = "no_offset_gap"
DESCRIPTION = "Every offset that the sink has committed is in Bronze or among the dead letters"

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
    make = coverage or open_coverage
    spec = dg.AssetCheckSpec(CHECK, asset=bronze_key(domain), description=DESCRIPTION)

    @dg.multi_asset_check(name=f"offset_coverage_{domain.name}", specs=[spec])
    def no_offset_gap(metadata_store: MetadataStore) -> Iterator[dg.AssetCheckResult]:
        # Only what the sensor noted: a second writer of the state could put an older one over a newer one.
        yield evaluate(domain, make(Catalog([domain]), metadata_store.lake()).known()).result()

    return no_offset_gap


def open_coverage(catalog: Catalog, lake: Lake) -> "Coverage":
    """Return the watch over the offsets of the environment's Kafka and lake."""
    # Imported late: the sink's modules take 0.2 s, and not every process of the orchestrator looks.
    from audit.offset_coverage.coverage import Coverage

    return Coverage(settings(), lake, catalog)


def _shown(gap: "Gap") -> str:
    kept = "" if gap.still_in_kafka else " (no longer in Kafka)"
    return f"{gap.topic}[{gap.partition}] {gap.first}-{gap.last}{kept}"
