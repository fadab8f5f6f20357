"""The assets that a domain's run makes: Silver, the Gold tables and the warehouse, all in one step.

They are one step so that each date of a range has an outcome of its own while Spark is opened once; what happens
inside is `processing`. What others write, from the source to Bronze, belongs to `external`.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from platform_assets.asset_checks.of_a_date import check_specs
from platform_assets.assets.events import CatalogEvent, Report
from platform_assets.assets.keys import bronze_key, gold_key, silver_key, warehouse_key
from platform_assets.assets.lineage import known_lineage, lineage_metadata
from platform_assets.jobs import REASON_TAG, is_running, pool
from platform_assets.partitions import daily
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.spark import SparkEndpoint
from platform_assets.resources.warehouse import Warehouse
from platform_core.domain.catalog import Domain
from platform_core.domain.code_version import code_version
from platform_core.settings import Settings
from processing.claim import Claims
from processing.context import RunContext
from processing.one_date import Processor


def pipeline_specs(domain: Domain) -> list[dg.AssetSpec]:
    """Return Silver, the Gold tables and the warehouse tables, in reading order."""
    version = code_version(domain)

    def spec(key: dg.AssetKey, made_of: list[dg.AssetKey], description: str, *kinds: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=made_of,
            group_name=domain.name,
            description=description,
            kinds=set(kinds),
            owners=[domain.owner],
            skippable=True,
            code_version=version,
        )

    one_row = f"typed, deduplicated, one row per {', '.join(domain.silver.primary_key)}."
    silver = spec(silver_key(domain), [bronze_key(domain)], f"{domain.description}: {one_row}", "spark", "deltalake")
    gold = [
        spec(
            gold_key(table),
            [silver_key(domain)],
            f"{domain.gold_tables[table].description} One row per {', '.join(keys)}.",
            "spark",
            "deltalake",
        )
        for table, keys in domain.gold.tables.items()
    ]
    in_warehouse = f"The Gold tables in schema {domain.warehouse_schema} of the warehouse."
    return [silver, *gold, spec(warehouse_key(domain), [each.key for each in gold], in_warehouse, "snowflake")]


def pipeline_assets(domain: Domain, settings: Settings) -> dg.AssetsDefinition:
    """Return the step that takes dates of the domain from Bronze to the warehouse."""

    @dg.multi_asset(
        name=f"{domain.name}_pipeline",
        specs=pipeline_specs(domain),
        check_specs=check_specs(domain),
        partitions_def=daily(domain),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=settings.run_max_dates),
        pool=pool(domain),
    )
    def pipeline(
        context: dg.AssetExecutionContext,
        metadata_store: MetadataStore,
        spark_endpoint: SparkEndpoint,
        warehouse: Warehouse,
    ) -> Iterator[CatalogEvent | dg.Output[None]]:
        run = RunContext(
            settings,
            metadata_store.lake(),
            domain,
            metadata_store.partitions(),
            context.run.run_id,
            discovered=REASON_TAG in context.run.tags,
        )
        days = [date.fromisoformat(key) for key in sorted(context.partition_keys)]
        claims = Claims(run, lambda other: is_running(context.instance, other), spark_endpoint.end_session)
        with spark_endpoint.session(run.run_id) as spark:
            lineage = lineage_metadata(domain, known_lineage(spark, domain))
            report = Report(context.instance, context.log, domain, run.lake, lineage)
            processor = Processor(run, claims, spark, warehouse.connect)
            for number, day in enumerate(days, start=1):
                if not is_running(context.instance, run.run_id):
                    # Discovery took it for dead, or a person ended it: another run may have the domain's pool by now.
                    raise dg.Failure(f"The run is over for the orchestrator; {day} and later dates are left to others.")
                context.log.info(f"{domain.name} {day}: date {number} of {len(days)}")
                for step in processor.process(day):
                    yield from report.events(step)
        report.raise_failures()
        # Each date's results are events of their own; what Dagster counts are the outputs of the step.
        for spec in check_specs(domain):
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return pipeline
