"""One domain as Dagster sees it: its assets, their checks, and the step that processes dates.

Bronze is written by the sink and only observed. Silver, Gold and the warehouse of a date are one step, so that
each date of a range has an outcome of its own while Spark is opened once; what happens inside is `processing`.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from platform_assets.checks import GOLD_CHECKS, SILVER_CHECKS, WAREHOUSE_CHECKS, CheckOutcome
from platform_assets.metadata import contract_schema, table_metadata
from platform_assets.partitions import daily
from platform_assets.processing import (
    Claimed,
    Failed,
    GoldDone,
    Processor,
    SilverDone,
    Skipped,
    Step,
    WarehouseDone,
)
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.spark import SparkEndpoint
from platform_assets.resources.warehouse import Warehouse
from platform_core.catalog import Domain
from platform_core.lake import Lake
from platform_core.settings import settings

DISCOVERED_TAG = "pdp/discovered"
"""Set on runs that discovery launched: they skip dates that no longer wait for them."""


def bronze_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's Bronze asset."""
    return dg.AssetKey(["bronze", domain.name])


def silver_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's Silver asset."""
    return dg.AssetKey(["silver", domain.name])


def gold_key(table: str) -> dg.AssetKey:
    """Key of one Gold asset; table names are unique over all domains."""
    return dg.AssetKey(["gold", table])


def warehouse_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's tables in the warehouse."""
    return dg.AssetKey(["snowflake", domain.name])


def job_name(domain: Domain) -> str:
    """Name of the domain's job."""
    return f"data_pipeline_{domain.name}"


def bronze_spec(domain: Domain) -> dg.AssetSpec:
    """Return the Bronze asset, which the sink writes and the sensor reports."""
    return dg.AssetSpec(
        bronze_key(domain),
        group_name=domain.name,
        description=f"{domain.description}: raw records from topic `{domain.topic.name}`, append-only Parquet.",
        kinds={"kafka", "parquet"},
        owners=[domain.owner],
        partitions_def=daily(domain),
        metadata={"dagster/column_schema": contract_schema(domain), "topic": domain.topic.name},
    )


def pipeline_specs(domain: Domain) -> list[dg.AssetSpec]:
    """Return Silver, the Gold tables and the warehouse tables, in reading order."""
    silver = dg.AssetSpec(
        silver_key(domain),
        deps=[bronze_key(domain)],
        group_name=domain.name,
        description=f"{domain.description}: typed, deduplicated, one row per {', '.join(domain.silver.primary_key)}.",
        kinds={"spark", "deltalake"},
        owners=[domain.owner],
        skippable=True,
    )
    gold = [
        dg.AssetSpec(
            gold_key(table),
            deps=[silver_key(domain)],
            group_name=domain.name,
            description=f"One row per {', '.join(keys)}.",
            kinds={"spark", "deltalake"},
            owners=[domain.owner],
            skippable=True,
        )
        for table, keys in domain.gold.tables.items()
    ]
    warehouse = dg.AssetSpec(
        warehouse_key(domain),
        deps=[gold_key(table) for table in domain.gold.tables],
        group_name=domain.name,
        description=f"The Gold tables in schema {domain.warehouse_schema} of the warehouse.",
        kinds={"snowflake"},
        owners=[domain.owner],
        skippable=True,
    )
    return [silver, *gold, warehouse]


def check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """Return the checks of Silver, Gold and the warehouse; all block what comes after them."""
    listed = [("silver", domain.name, name, text) for name, text in SILVER_CHECKS.items()]
    listed += [("gold", table, name, text) for table in domain.gold.tables for name, text in GOLD_CHECKS.items()]
    listed += [("snowflake", domain.name, name, text) for name, text in WAREHOUSE_CHECKS.items()]
    return [
        dg.AssetCheckSpec(name, asset=dg.AssetKey([layer, table]), description=text, blocking=True)
        for layer, table, name, text in listed
    ]


def pipeline_assets(domain: Domain) -> dg.AssetsDefinition:
    """Return the step that takes dates of the domain from Bronze to the warehouse."""

    @dg.multi_asset(
        name=f"{domain.name}_pipeline",
        specs=pipeline_specs(domain),
        check_specs=check_specs(domain),
        partitions_def=daily(domain),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=settings().run_max_dates),
        # One run a domain at a time: it is the only writer of the domain's Delta tables.
        pool=f"domain_{domain.name}",
    )
    def pipeline(
        context: dg.AssetExecutionContext,
        metadata_store: MetadataStore,
        spark_endpoint: SparkEndpoint,
        warehouse: Warehouse,
    ) -> Iterator[dg.AssetCheckResult]:
        lake = metadata_store.lake()
        days = [date.fromisoformat(key) for key in sorted(context.partition_keys)]
        report = Report(context, domain, lake)
        with spark_endpoint.session() as spark:
            processor = Processor(
                domain,
                lake,
                metadata_store.partitions(),
                spark,
                warehouse.connect,
                warehouse.database,
                context.run.run_id,
                lambda run_id: is_running(context.instance, run_id),
                discovered=DISCOVERED_TAG in context.run.tags,
            )
            for number, day in enumerate(days, start=1):
                context.log.info(f"{domain.name} {day}: date {number} of {len(days)}")
                for step in processor.process(day):
                    report.add(step)
        yield from report.check_results()
        report.raise_failures()

    return pipeline


def is_running(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Return whether a run exists and is queued, starting or running."""
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


class Report:
    """Turns the steps of a run into what Dagster shows: materializations a date, check results, a failure."""

    def __init__(self, context: dg.AssetExecutionContext, domain: Domain, lake: Lake) -> None:
        self._context = context
        self._domain = domain
        self._lake = lake
        self._checks: dict[tuple[str, str, str], dict[date, CheckOutcome]] = {}
        self._failures: dict[date, Exception] = {}
        self._fingerprint: dict[date, str] = {}

    def add(self, step: Step) -> None:
        """Report one finished step."""
        context, domain = self._context, self._domain
        match step:
            case Claimed(day=day):
                self._fingerprint[day] = step.fingerprint
                context.log.info(f"{domain.name} {day}: {step.was} → IN_FLIGHT, {len(step.files)} files pinned")
            case SilverDone(day=day, result=silver, checks=checks):
                path = self._lake.silver(domain)
                self._materialized(
                    silver_key(domain),
                    day,
                    {
                        **table_metadata(self._lake, domain, path, silver.silver_rows),
                        "bronze_rows": silver.bronze_rows,
                        "duplicates": silver.offset_duplicates + silver.key_duplicates,
                        "quarantined": sum(silver.quarantined.values()),
                        "seconds": round(silver.seconds, 2),
                    },
                )
                self._remember(day, checks)
            case GoldDone(day=day, result=gold, checks=checks):
                for table, rows in gold.rows.items():
                    path = self._lake.gold(domain, table)
                    self._materialized(gold_key(table), day, table_metadata(self._lake, domain, path, rows))
                self._remember(day, checks)
            case WarehouseDone(day=day, loads=loads, checks=checks):
                self._materialized(
                    warehouse_key(domain),
                    day,
                    {
                        "dagster/partition_row_count": sum(load.rows for load in loads),
                        "tables": {load.table: _load_facts(load) for load in loads},
                        "seconds": round(step.seconds, 2),
                    },
                )
                self._remember(day, checks)
                context.log.info(f"{domain.name} {day}: DONE")
            case Skipped(day=day, reason=reason):
                context.log.warning(f"{domain.name} {day}: skipped. {reason}")
            case Failed(day=day, error=error):
                self._failures[day] = error
                context.log.error(f"{domain.name} {day}: FAILED. {error}")

    def check_results(self) -> Iterator[dg.AssetCheckResult]:
        """Yield one result a check, over all dates of the run that reached it."""
        for spec in check_specs(self._domain):
            layer, table = spec.asset_key.path
            outcomes = self._checks.get((layer, table, spec.name), {})
            failed = [day for day, outcome in outcomes.items() if not outcome.passed]
            if not outcomes and self._failures:
                continue  # not reached: reporting it as passed would be untrue
            yield dg.AssetCheckResult(
                check_name=spec.name,
                asset_key=spec.asset_key,
                passed=not failed,
                severity=dg.AssetCheckSeverity.ERROR,
                description=f"Failed for {', '.join(map(str, failed))}"
                if failed
                else f"Dates checked: {len(outcomes)}",
                metadata={str(day): dg.MetadataValue.json(_plain(o.facts)) for day, o in outcomes.items()},
            )

    def raise_failures(self) -> None:
        """Fail the run when a date failed; the other dates keep their outcome."""
        if self._failures:
            listed = "\n".join(f"{day}: {error}" for day, error in self._failures.items())
            raise dg.Failure(
                description=f"{len(self._failures)} dates of `{self._domain.name}` failed:\n{listed}",
                metadata={str(day): str(error) for day, error in self._failures.items()},
                allow_retries=False,
            )

    def _remember(self, day: date, checks: list[CheckOutcome]) -> None:
        for check in checks:
            self._checks.setdefault((check.layer, check.table, check.name), {})[day] = check

    def _materialized(self, key: dg.AssetKey, day: date, metadata: dict[str, Any]) -> None:
        self._context.log_event(
            dg.AssetMaterialization(
                asset_key=key,
                partition=day.isoformat(),
                metadata={**metadata, "bronze_fingerprint": self._fingerprint[day]},
                tags={"dagster/data_version": self._fingerprint[day]},
            )
        )


def _load_facts(load: Any) -> dict[str, int]:
    return {"rows": load.rows, "inserted": load.inserted, "updated": load.updated, "deleted": load.deleted}


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    import json

    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain
