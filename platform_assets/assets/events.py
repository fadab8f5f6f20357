"""What Dagster is told of a date: materializations and check results as each step ends, and the run's failure.

Events are yielded, not collected: a run that is killed after three dates of seven has told of three. What a step is
belongs to `processing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from audit.report import CheckOutcome
from platform_assets.assets.bronze import DATA_VERSION, BronzeEvent, bronze_events
from platform_assets.assets.keys import bronze_key, gold_key, silver_key, warehouse_key
from platform_assets.assets.metadata import lineage_metadata, shown, table_metadata
from platform_core.domain.catalog import Domain
from platform_core.domain.code_version import code_version
from platform_core.lake.lake import Lake
from processing.claim import Claimed, Skipped
from processing.one_date import Corrected, Done, Failed, GoldDone, SilverDone, Step, WarehouseDone

if TYPE_CHECKING:
    from spark_jobs.lineage import DomainLineage

Event = BronzeEvent | dg.AssetCheckEvaluation

CODE_VERSION = "dagster/code_version"
INPUT_VERSION = "dagster/input_data_version"
INPUT_POINTER = "dagster/input_event_pointer"


class Report:
    """Turns the steps of a run into Dagster's events.

    Args:
        instance: To look up what an asset was made of.
        log: The run's log.
        lake: For paths and schemas.
        lineage: Returns what the domain's columns are made of, or None when that is not known; called at each
            materialization.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        log: logging.Logger,
        domain: Domain,
        lake: Lake,
        lineage: Callable[[], DomainLineage | None] = lambda: None,
    ) -> None:
        self._instance = instance
        self._log = log
        self._domain = domain
        self._lake = lake
        self._lineage = lineage
        self._code = code_version(domain)
        self._failures: dict[date, Exception] = {}
        self._claims: dict[date, Claimed] = {}

    def events(self, step: Step) -> Iterator[Event]:
        """Yield what one finished step means to the catalog, and log it."""
        domain = self._domain
        match step:
            case Claimed(day=day):
                self._claims[day] = step
                self._log.info(f"{domain.name} {day}: {step.was} → IN_FLIGHT, {len(step.files)} files pinned")
                yield from self._bronze(step)
            case SilverDone(day=day, result=silver, checks=checks):
                if silver.published:
                    of_contract = {column.name: column.description for column in domain.contract.columns}
                    yield self._materialized(
                        silver_key(domain),
                        [bronze_key(domain)],
                        day,
                        {
                            **table_metadata(self._lake, self._lake.silver(domain), silver.silver_rows, of_contract),
                            **self._silver_lineage(),
                            "bronze_rows": silver.bronze_rows,
                            "duplicates": silver.offset_duplicates + silver.key_duplicates,
                            "quarantined": sum(silver.quarantined.values()),
                            "late_records": self._late_records(day, silver.bronze_rows),
                            "seconds": round(silver.seconds, 2),
                        },
                    )
                yield from self._evaluations(day, checks)
            case GoldDone(day=day, result=gold, checks=checks):
                refused = any(check.blocks for check in checks)
                for table, rows in () if refused else gold.rows.items():
                    of_table = domain.gold_tables[table].columns
                    metadata = {
                        **table_metadata(self._lake, self._lake.gold(domain, table), rows, of_table),
                        **self._gold_lineage(table),
                        "seconds": round(gold.seconds, 2),
                    }
                    yield self._materialized(gold_key(table), [silver_key(domain)], day, metadata)
                yield from self._evaluations(day, checks)
            case WarehouseDone(day=day, loads=loads, checks=checks):
                rows = sum(load.rows for load in loads)
                metadata = {
                    "dagster/partition_row_count": rows,
                    "rows": rows,
                    "tables": shown({load.table: _load_facts(load) for load in loads}),
                    "seconds": round(step.seconds, 2),
                    **self._warehouse_lineage(),
                }
                tables = [gold_key(table) for table in domain.gold.tables]
                yield self._materialized(warehouse_key(domain), tables, day, metadata)
                yield from self._evaluations(day, checks)
            case Corrected(day=day):
                self._log.info(f"{domain.name} {day}: {step.changed_rows} Gold rows changed by {step.cause}")
            case Done(day=day):
                self._log.info(f"{domain.name} {day}: DONE")
            case Skipped(day=day, reason=reason):
                self._log.warning(f"{domain.name} {day}: skipped. {reason}")
            case Failed(day=day, error=error):
                self._failures[day] = error
                self._log.error(f"{domain.name} {day}: FAILED. {error}")

    def raise_failures(self) -> None:
        """Fail the run when a date failed; the other dates keep their outcome."""
        if self._failures:
            listed = "\n".join(f"{day}: {error}" for day, error in self._failures.items())
            raise dg.Failure(
                description=f"{len(self._failures)} dates of `{self._domain.name}` failed:\n{listed}",
                metadata={str(day): str(error) for day, error in self._failures.items()},
                allow_retries=False,
            )

    def _bronze(self, claim: Claimed) -> Iterator[Event]:
        """Report Bronze when its files are others than those that a tick reported: they came meanwhile."""
        latest = self._latest(bronze_key(self._domain), claim.day)
        if latest is None or latest.event_log_entry.tags.get(DATA_VERSION) != claim.fingerprint:
            yield from bronze_events(self._domain, claim.day, claim.fingerprint, {"files": len(claim.files)})

    def _late_records(self, day: date, bronze_rows: int) -> int:
        """Return how many records came after the date was last DONE."""
        why = self._claims[day].reprocess
        return max(bronze_rows - why.records_before, 0) if why else 0

    def _silver_lineage(self) -> dict[str, Any]:
        lineage = self._lineage()
        return lineage_metadata(_of(bronze_key(self._domain), lineage.silver)) if lineage else {}

    def _gold_lineage(self, table: str) -> dict[str, Any]:
        lineage = self._lineage()
        return lineage_metadata(_of(silver_key(self._domain), lineage.gold[table])) if lineage else {}

    def _warehouse_lineage(self) -> dict[str, Any]:
        """Return each column's origin: the column of its name in every Gold table that has one."""
        lineage = self._lineage()
        columns: dict[str, list[tuple[dg.AssetKey, str]]] = {}
        for table, names in lineage.gold.items() if lineage else ():
            for name in names:
                columns.setdefault(name, []).append((gold_key(table), name))
        return lineage_metadata(columns) if columns else {}

    def _evaluations(self, day: date, checks: list[CheckOutcome]) -> Iterator[dg.AssetCheckEvaluation]:
        for outcome in checks:
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey([outcome.layer, outcome.table]),
                check_name=outcome.name,
                passed=outcome.passed,
                severity=dg.AssetCheckSeverity(outcome.severity),
                metadata={name: shown(value) for name, value in outcome.facts.items()},
                # Not Dagster's gate: `processing` has stopped the date, and the run's other dates go on.
                blocking=False,
                partition=day.isoformat(),
            )

    def _materialized(
        self, key: dg.AssetKey, made_of: Sequence[dg.AssetKey], day: date, metadata: dict[str, Any]
    ) -> dg.AssetMaterialization:
        version = self._claims[day].fingerprint
        return dg.AssetMaterialization(
            asset_key=key,
            partition=day.isoformat(),
            metadata={**metadata, "bronze_fingerprint": version},
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
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[day.isoformat()])
        # Of an external asset Dagster takes observations for its data versions.
        observed = key == bronze_key(self._domain)
        fetch = self._instance.fetch_observations if observed else self._instance.fetch_materializations
        records = fetch(wanted, limit=1).records
        return records[0] if records else None


def _of(key: dg.AssetKey, columns: Mapping[str, Iterable[str]]) -> dict[str, list[tuple[dg.AssetKey, str]]]:
    return {name: [(key, column) for column in made_of] for name, made_of in columns.items()}


def _load_facts(load: Any) -> dict[str, int]:
    return {"rows": load.rows, "inserted": load.inserted, "updated": load.updated, "deleted": load.deleted}
