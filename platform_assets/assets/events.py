"""What is reported to Dagster of a date: materializations and check results as each step ends, and the run's failure.

Events are yielded, not collected: a run that is killed after three dates of seven has reported three. What a step is
belongs to `processing`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from audit.stages.silver_to_gold import RECONCILES_WITH_SILVER
from platform_assets.assets.bronze import DATA_VERSION, BronzeEvent, bronze_events
from platform_assets.assets.keys import bronze_key, gold_key, silver_key, warehouse_key
from platform_assets.assets.metadata import shown, table_metadata
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.domain.code_version import code_version
from platform_core.lake.lake import Lake
from processing.claim import Claimed, Skipped
from processing.one_date import Failed, GoldDone, Noted, SilverDone, Step, WarehouseDone

CatalogEvent = BronzeEvent | dg.AssetCheckEvaluation

CODE_VERSION = "dagster/code_version"
INPUT_VERSION = "dagster/input_data_version"
INPUT_POINTER = "dagster/input_event_pointer"


class Report:
    """Turns the steps of a run into Dagster's events.

    Args:
        instance: To look up what an asset was made of.
        log: The run's log.
        lake: For paths and schemas.
        lineage: What the catalog shows of each asset's columns, see `lineage_metadata`.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        log: logging.Logger,
        domain: Domain,
        lake: Lake,
        lineage: Mapping[dg.AssetKey, Mapping[str, Any]],
    ) -> None:
        self._instance = instance
        self._log = log
        self._domain = domain
        self._lake = lake
        self._lineage = lineage
        self._code = code_version(domain)
        self._failures: dict[date, Exception] = {}
        self._claims: dict[date, Claimed] = {}

    def events(self, step: Step) -> Iterator[CatalogEvent]:
        """Yield what one finished step means to the catalog, and log it; what cannot be shown stops no date."""
        about = f"{self._domain.name} {step.day}"
        try:
            yield from self._events(step, about)
        except Exception:
            self._log.exception(f"{about}: {type(step).__name__} could not be shown in the catalog")

    def _events(self, step: Step, about: str) -> Iterator[CatalogEvent]:
        match step:
            case Claimed():
                self._claims[step.day] = step
                self._log.info(f"{about}: {step.was} → IN_FLIGHT, {counted(len(step.files), 'file')} pinned")
                yield from self._bronze(step)
            case SilverDone():
                if step.way:
                    self._log.info(f"{about}: {step.way}")
                if step.result.published:
                    yield self._silver(step)
                yield from self._evaluations(step)
            case GoldDone():
                if not any(check.blocks for check in step.checks):
                    yield from self._gold(step)
                yield from self._evaluations(step)
            case WarehouseDone():
                yield self._warehouse(step)
                yield from self._evaluations(step)
            case Noted():
                self._log.info(f"{about}: {step.text}")
            case Skipped():
                self._log.warning(f"{about}: skipped. {step.reason}")
            case Failed():
                self._failures[step.day] = step.error
                self._log.error(f"{about}: FAILED. {step.error}")

    def raise_failures(self) -> None:
        """Fail the run when a date failed; the other dates keep their outcome."""
        if self._failures:
            failures = "\n".join(f"{day}: {error}" for day, error in self._failures.items())
            raise dg.Failure(
                description=f"{counted(len(self._failures), 'date')} of `{self._domain.name}` failed:\n{failures}",
                metadata={str(day): str(error) for day, error in self._failures.items()},
                allow_retries=False,
            )

    def _bronze(self, claim: Claimed) -> Iterator[CatalogEvent]:
        """Report Bronze when its files are others than those that a tick reported: they came meanwhile."""
        latest = self._latest(bronze_key(self._domain), claim.day)
        if latest is None or latest.event_log_entry.tags.get(DATA_VERSION) != claim.fingerprint:
            yield from bronze_events(self._domain, claim.day, claim.fingerprint, {"files": len(claim.files)})

    def _silver(self, step: SilverDone) -> dg.AssetMaterialization:
        domain, silver = self._domain, step.result
        why = self._claims[step.day].reprocess
        described = {column.name: column.description for column in domain.contract.columns}
        metadata = {
            **table_metadata(self._lake, self._lake.silver(domain), silver.silver_rows, described),
            "bronze_rows": silver.bronze_rows,
            "duplicates": silver.offset_duplicates + silver.key_duplicates,
            "quarantined": sum(silver.quarantined.values()),
            **({"moved": silver.moved} if domain.silver.global_key else {}),
            **({"way": step.way} if step.way else {}),
            "late_records": max(silver.bronze_rows - why.records_before, 0) if why else 0,
            "seconds": round(silver.seconds, 2),
        }
        return self._materialized(silver_key(domain), [bronze_key(domain)], step.day, metadata)

    def _gold(self, step: GoldDone) -> Iterator[dg.AssetMaterialization]:
        domain = self._domain
        for table, rows in step.result.rows.items():
            described = domain.gold_tables[table].columns
            # The totals that were compared with Silver, revenue for example: the UI plots them over the dates.
            totals = [
                check.facts for check in step.checks if (check.table, check.name) == (table, RECONCILES_WITH_SILVER)
            ]
            metadata = {
                **table_metadata(self._lake, self._lake.gold(domain, table), rows, described),
                **{name: shown(total) for facts in totals for name, total in facts.items() if total is not None},
                "seconds": round(step.result.seconds, 2),
            }
            yield self._materialized(gold_key(table), [silver_key(domain)], step.day, metadata)

    def _warehouse(self, step: WarehouseDone) -> dg.AssetMaterialization:
        rows = sum(load.rows for load in step.loads)
        facts = {
            load.table: {name: getattr(load, name) for name in ("rows", "inserted", "updated", "deleted")}
            for load in step.loads
        }
        metadata = {
            "dagster/partition_row_count": rows,
            "rows": rows,
            "tables": shown(facts),
            "seconds": round(step.seconds, 2),
        }
        tables = [gold_key(table) for table in self._domain.gold.tables]
        return self._materialized(warehouse_key(self._domain), tables, step.day, metadata)

    def _evaluations(self, step: SilverDone | GoldDone | WarehouseDone) -> Iterator[dg.AssetCheckEvaluation]:
        for outcome in step.checks:
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey([outcome.layer, outcome.table]),
                check_name=outcome.name,
                passed=outcome.passed,
                severity=dg.AssetCheckSeverity(outcome.severity),
                metadata={name: shown(value) for name, value in outcome.facts.items()},
                # Not Dagster's gate: `processing` has stopped the date, and the run's other dates go on.
                blocking=False,
                partition=step.day.isoformat(),
            )

    def _materialized(
        self, key: dg.AssetKey, made_of: Sequence[dg.AssetKey], day: date, metadata: dict[str, Any]
    ) -> dg.AssetMaterialization:
        version = self._claims[day].fingerprint
        return dg.AssetMaterialization(
            asset_key=key,
            partition=day.isoformat(),
            metadata={**metadata, **self._lineage.get(key, {}), "bronze_fingerprint": version},
            tags={DATA_VERSION: version, CODE_VERSION: self._code, **self._provenance(made_of, day)},
        )

    def _provenance(self, made_of: Sequence[dg.AssetKey], day: date) -> dict[str, str]:
        """Return the tags by which the UI knows that what is upstream has changed since."""
        tags = {}
        for key in made_of:
            record = self._latest(key, day)
            if record is not None:
                name = key.to_user_string()
                version = record.event_log_entry.tags.get(DATA_VERSION)
                tags[f"{INPUT_VERSION}/{name}"] = version or self._claims[day].fingerprint
                tags[f"{INPUT_POINTER}/{name}"] = str(record.storage_id)
        return tags

    def _latest(self, key: dg.AssetKey, day: date) -> Any:
        of_date = dg.AssetRecordsFilter(key, asset_partitions=[day.isoformat()])
        # Of an external asset Dagster takes observations for its data versions.
        observed = key == bronze_key(self._domain)
        fetch = self._instance.fetch_observations if observed else self._instance.fetch_materializations
        records = fetch(of_date, limit=1).records
        return records[0] if records else None
