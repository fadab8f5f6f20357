"""The assets that no run makes: the source, the Kafka topic and Bronze, as the graph shows them.

Producers and the sink write them; Dagster only knows of them. What Dagster is told of a date of Bronze belongs to
`bronze`.
"""

import dagster as dg

from platform_assets.assets.keys import bronze_key
from platform_assets.assets.metadata import contract_schema
from platform_assets.partitions import daily
from platform_core.domain.catalog import Domain


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
