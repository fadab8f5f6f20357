"""The names of a date's asset checks, and those of Silver alone: contract, keys, accepted values, quarantine, volume.

A check that compares two layers is answered by the stage that compares them, once (`audit.stages`). One that fails
with severity ERROR blocks what comes after it, WARN only shows. Row-level rules belong to domains.yaml and are counted
inside the Spark job; what needs the whole domain belongs to
`platform_assets.asset_checks`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from audit.duckdb_tables import DeltaDate, names
from audit.report import CheckOutcome, StageResult
from audit.stages.silver_to_gold import RECONCILES_WITH_SILVER
from audit.stages.source_to_silver import compare_totals
from platform_core.domain.bronze_schema import arrow_type
from platform_core.domain.catalog import Domain
from platform_core.domain.quality import ratio_of, refused_rules, volume_verdict
from platform_core.lake.duckdb_memory import comparable
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import PartitionMetaReader
from platform_core.partitions.partition_state import State

if TYPE_CHECKING:
    from spark_jobs.bronze_to_silver import SilverResult

SILVER_CHECKS = {
    "contract": "Silver has every scalar column of the contract with the contract's type",
    "non_null": "No required column of the contract is null in Silver",
    "unique_key": "The primary key occurs once in the date's Silver rows",
    "reconciles_with_bronze": "Bronze records = Silver rows + moved + duplicates + quarantined, as in the table",
    "accepted_values": "No rule of domains.yaml with `on_failure: fail` is broken; a broken `warn` rule warns",
    "quarantine_ratio": "No more rows were quarantined than domains.yaml allows",
    "volume": "The date has about as many rows as the days before it (warns)",
}
SOURCE_CHECK = {
    "reconciles_with_source": "The source database and Silver agree on the date's totals (warns)",
}
GOLD_CHECKS = {
    "unique_key": "The merge keys occur once and are never null in the date's rows",
    RECONCILES_WITH_SILVER: "The totals of domains.yaml are equal over Gold and over Silver",
}
WAREHOUSE_CHECKS = {
    "reconciles_with_gold": "Rows and exact sums of the date are equal in the warehouse and in Gold",
    "audit": "Every Bronze row of the date is explained from its file to the warehouse (alerts)",
}
WARNING_ONLY = frozenset({"volume", "reconciles_with_source"})
NOT_BLOCKING = WARNING_ONLY | {"audit"}
"""Nothing comes after the audit of a date that it could block."""


def silver_checks(domain: Domain) -> dict[str, str]:
    """Return the names and descriptions of a domain's Silver checks."""
    return SILVER_CHECKS | (SOURCE_CHECK if domain.quality.source else {})


def check_silver(
    lake: Lake,
    domain: Domain,
    day: date,
    result: SilverResult,
    partitions: PartitionMetaReader,
    postgres_dsn: str,
    audited: StageResult | None = None,
) -> list[CheckOutcome]:
    """Check one date of Silver against the contract, the rules, what the job read, the days before and the source.

    Of a date that the job refused to publish only the checks that refused it, and those that need no table.

    Args:
        audited: Bronze → Silver, where that was compared after the write and is clean: each key was found once then.
    """
    judged = [
        _accepted_values(domain, result),
        _quarantine_ratio(domain, result),
        _volume(domain, day, result, partitions),
    ]
    if not result.published:
        return judged
    source = compare_totals(lake, domain, day, postgres_dsn).checks if domain.quality.source else ()
    return [*_check_table(lake, domain, day, result, audited), *judged, *source]


def _accepted_values(domain: Domain, result: SilverResult) -> CheckOutcome:
    refused = refused_rules(domain.quality, result.distinct_offsets, result.quarantined)
    facts = {"refused": refused, "warned": dict(result.warned), "quarantined": dict(result.quarantined)}
    severity: Literal["ERROR", "WARN"] = "ERROR" if refused else "WARN"
    return CheckOutcome("silver", domain.name, "accepted_values", not refused and not result.warned, facts, severity)


def _quarantine_ratio(domain: Domain, result: SilverResult) -> CheckOutcome:
    quality = domain.quality
    ratio = ratio_of(sum(result.quarantined.values()), result.distinct_offsets)
    facts = {
        "ratio": round(ratio, 6),
        "warns_above": quality.warn_quarantined_ratio,
        "allowed": quality.max_quarantined_ratio,
        "by_rule": dict(result.quarantined),
        "withheld_keys": result.withheld,
    }
    passed = ratio <= min(quality.warn_quarantined_ratio, quality.max_quarantined_ratio)
    severity: Literal["ERROR", "WARN"] = "ERROR" if ratio > quality.max_quarantined_ratio else "WARN"
    return CheckOutcome("silver", domain.name, "quarantine_ratio", passed, facts, severity)


def _volume(domain: Domain, day: date, result: SilverResult, partitions: PartitionMetaReader) -> CheckOutcome:
    limits = domain.quality.volume
    compared = [day - timedelta(days=ago) for ago in range(1, limits.days + 1)]
    before = [
        row.silver_records
        for row in partitions.rows(domain.name, compared)
        if row.status is State.DONE and row.silver_records is not None
    ]
    verdict = volume_verdict(limits, result.silver_rows, before)
    facts = {
        "rows": result.silver_rows,
        "usual": verdict.usual,
        "ratio": verdict.ratio,
        "expected_ratio": [limits.min_ratio, limits.max_ratio],
        "days_compared": len(before),
    }
    return CheckOutcome("silver", domain.name, "volume", verdict.normal, facts, "WARN")


def _check_table(
    lake: Lake, domain: Domain, day: date, result: SilverResult, audited: StageResult | None
) -> list[CheckOutcome]:
    silver = DeltaDate(lake, lake.silver(domain), domain.partition_key, day)
    missing, wrong = _against_contract(domain, silver.schema)
    required = [c.name for c in domain.contract.columns if not c.nullable and c.name in silver.schema.names]
    null_counts = silver.nulls(required)
    rows, keys = _rows_and_keys(domain, silver) if audited is None else (audited.equations[0].parts["silver"],) * 2
    quarantined = sum(result.quarantined.values())
    accounted = result.silver_rows + result.moved + result.offset_duplicates + result.key_duplicates + quarantined

    def outcome(name: str, passed: bool, **facts: Any) -> CheckOutcome:
        return CheckOutcome("silver", domain.name, name, passed, facts)

    return [
        outcome("contract", not missing and not wrong, missing=missing, wrong_type=wrong),
        outcome("non_null", not any(null_counts.values()), nulls={k: v for k, v in null_counts.items() if v}),
        outcome("unique_key", keys == rows, rows=rows, distinct_keys=keys),
        outcome(
            "reconciles_with_bronze",
            accounted == result.bronze_rows and rows == result.silver_rows,
            bronze=result.bronze_rows,
            silver=result.silver_rows,
            table=rows,
            offset_duplicates=result.offset_duplicates,
            key_duplicates=result.key_duplicates,
            moved=result.moved,
            quarantined=quarantined,
        ),
    ]


def _rows_and_keys(domain: Domain, silver: DeltaDate) -> tuple[int, int]:
    """Return how many rows there are, and how many keys."""
    listed = names(domain.silver.primary_key)
    rows, hashes = silver.query("count(*)", f"count(distinct hash({listed}))")
    if hashes == rows:
        return rows, rows  # for half of what 860,000 keys cost; fewer hashes may be two keys of one hash
    [[keys]] = silver.rows(f"select count(*) from (select distinct {listed} from audited)")
    return rows, keys


def _against_contract(domain: Domain, schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    missing, wrong = [], {}
    for column in domain.contract.columns:
        if column.type.is_nested:
            continue  # the domain's Transform decides how a nested value is kept
        if column.name not in schema.names:
            missing.append(column.name)
        elif comparable(schema.field(column.name).type) != comparable(arrow_type(column)):
            wrong[column.name] = f"{schema.field(column.name).type} instead of {column.type}"
    return missing, wrong
