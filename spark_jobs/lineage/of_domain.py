"""The lineage of a domain's Silver and Gold, from what its `Transform` and `Aggregation` build without any rows.

Which DataFrames are analysed is here; how a plan is read belongs to `relations`. The steps that the framework adds
are those of `bronze_to_silver`, so that `record_hash` and the platform's columns have their lineage too.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from platform_core.domain.catalog import Domain
from platform_core.domain.plugin import load_aggregation, load_transform
from spark_jobs import steps
from spark_jobs.bronze_to_silver import silver_columns
from spark_jobs.lineage.relations import LineageSource, column_lineage
from spark_jobs.reading.bronze import spark_schema


@dataclass(frozen=True)
class DomainLineage:
    """What the columns of a domain's tables are made of.

    Attributes:
        silver: Bronze columns by Silver column.
        gold: Silver columns by Gold column, by table.
    """

    silver: dict[str, set[str]]
    gold: dict[str, dict[str, set[str]]]


def domain_lineage(spark: SparkSession, domain: Domain) -> DomainLineage:
    """Return the lineage of a domain's Silver and Gold columns; nothing is executed.

    The server is only asked when the domain's own code asks it, for example for `df.columns`.

    Args:
        spark: A Spark Connect session, of either engine.

    Raises:
        LineageUnknownError: a plan has something whose sources are not known.
        ConfigurationError: a plugin is missing.
    """
    key, given = domain.partition_key, spark_schema(domain.contract)
    # The date of a Bronze file is in its path: to Silver it is a column of Bronze like the others.
    schema = T.StructType([*given.fields, T.StructField(key, T.DateType(), True)])
    bronze = LineageSource(spark.createDataFrame([], schema), tuple(schema.names))
    prepared = bronze.df.withColumns(
        {steps.RECORD_HASH: steps.record_hash(domain.contract), steps.RECORD: steps.record_struct(given)}
    )
    # Rules, deduplication and their columns choose rows and are gone in Silver.
    transformed = load_transform(domain).transform(prepared, domain)
    names = [name for name in column_lineage(transformed, bronze) if name != key]
    undated = silver_columns(transformed.drop(key), names)
    of_silver = column_lineage(undated, bronze) | {key: {key}}

    silver = LineageSource(undated.withColumn(key, F.lit(domain.start_date)), tuple(of_silver))
    aggregated = load_aggregation(domain).aggregate(silver.df, domain, domain.start_date)
    tables = aggregated if isinstance(aggregated, dict) else dict.fromkeys(list(domain.gold.tables)[:1], aggregated)
    return DomainLineage(of_silver, {table: column_lineage(frame, silver) for table, frame in tables.items()})
