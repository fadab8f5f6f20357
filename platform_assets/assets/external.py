"""The assets that no run makes: the sources, the Kafka topics and Bronze, as the graph shows them.

Producers and the sink write them; Dagster only knows of them. What is reported of a date of Bronze belongs to
`bronze`.
"""

import dagster as dg

from platform_assets.assets.keys import CATALOG_KEY, PLATFORM_OWNER, bronze_key, source_keys, topic_key
from platform_assets.assets.metadata import contract_schema
from platform_assets.partitions import daily
from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.source import PostgresTable


def catalog_spec() -> dg.AssetSpec:
    """Return the list of domains, which carries the check that each of them runs."""
    return dg.AssetSpec(
        CATALOG_KEY,
        group_name="platform",
        description="The list of domains, `domains.yaml`. A mistake in an entry stops its own domain only.",
        kinds={"yaml"},
        owners=[PLATFORM_OWNER],
    )


def source_specs(catalog: Catalog) -> list[dg.AssetSpec]:
    """Return what the producers read, each once: two domains may read one table."""
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    for domain in catalog.with_source:
        for key in source_keys(domain):
            specs.setdefault(key, _source_spec(domain, key))
    return list(specs.values())


def _source_spec(domain: Domain, key: dg.AssetKey) -> dg.AssetSpec:
    assert domain.source is not None
    kind = domain.source.kind
    if isinstance(domain.source, PostgresTable):
        what, kinds = f"Table `{'.'.join(key.path[1:])}` of the source database", {"postgres", "table"}
    else:
        what, kinds = f"The {kind.replace('_', ' ')} of `{domain.name}`", {kind, "python"}
    return dg.AssetSpec(
        key,
        group_name=domain.name,
        description=f"{what}, which `python -m producers {domain.command}` reads (`{kind}`).",
        kinds=kinds,
        owners=[domain.owner],
    )


def topic_spec(domain: Domain) -> dg.AssetSpec:
    """Return the Kafka topic, which the domain's producer fills and the sink empties."""
    topic = domain.topic
    return dg.AssetSpec(
        topic_key(domain),
        deps=source_keys(domain),
        group_name=domain.name,
        description=f"{domain.description}: a record per change, keyed by `{topic.key}`.",
        kinds={"kafka", "json"},
        owners=[domain.owner],
        metadata={
            "dagster/column_schema": contract_schema(domain),
            "kafka_partitions": topic.partitions,
            "retention_days": topic.retention_days,
        },
    )


def bronze_spec(domain: Domain) -> dg.AssetSpec:
    """Return the Bronze asset, which the sink writes and the sensor reports."""
    return dg.AssetSpec(
        bronze_key(domain),
        deps=[topic_key(domain)],
        group_name=domain.name,
        description=f"{domain.description}: raw records from topic `{domain.topic.name}`, append-only Parquet.",
        kinds={"parquet"},
        owners=[domain.owner],
        partitions_def=daily(domain),
        metadata={"dagster/column_schema": contract_schema(domain), "topic": domain.topic.name},
    )
