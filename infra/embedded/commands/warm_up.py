"""Warms a Spark Connect endpoint up while nobody waits for it: reads, windows, Delta writes and MERGEs on scratch data.

A JVM's first date costs about 60 s of CPU where its second costs 12: classes are loaded and code is compiled. Nothing
of it depends on the data, so it runs beside the replay. Nothing of the lake is read or written here.

Usage: `python -m infra.embedded.commands.warm_up ROOT`, with `SPARK_REMOTE` set; the root is a scratch folder, or a
prefix in the lake's bucket, so that the connector to it is warm too.
"""

from __future__ import annotations

import sys
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import configured_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import settings
from simulation.demonstration import WARM_UP_DOMAIN, warm_up_rows
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.engine.session import connect

ROWS = 2000


def main(root: str) -> int:
    """Take made-up rows of one domain through both Spark jobs, below `root`."""
    config = settings().model_copy(update={"lake_uri": root})
    lake = Lake(config)
    domain = configured_catalog(config)[WARM_UP_DOMAIN]
    day = date(2024, 1, 1)
    rows = warm_up_rows(domain, day, ROWS)
    schema = bronze_schema(domain.contract)
    name = f"{lake.bronze_partition(domain, day)}/part-warm-up.parquet"
    lake.filesystem.create_dir(lake.path(lake.bronze_partition(domain, day)))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), lake.path(name), filesystem=lake.filesystem)
    spark = connect(config.spark_remote, token=config.spark_connect_token)
    try:
        for _ in range(2):  # the second pass merges into tables that exist
            bronze_to_silver.run(spark, lake, domain, day, [name])
            silver_to_gold.run(spark, lake, domain, day)
    finally:
        spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
