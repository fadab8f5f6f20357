"""Which group and which record an aggregation cannot take: a sum that overflows, a division by zero, a failed cast.

An engine ends the query for one of them and names neither. This is asked only then: the aggregation is evaluated over
ever fewer groups, then over ever fewer of the group's records. A rule that fails is the neighbouring
`unevaluable_rows`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pyspark.errors as pe
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from platform_core.domain.catalog import Domain

Part = TypeVar("Part")

_NULL = "NULL"


def unaggregable(silver: DataFrame, aggregate: Callable[[DataFrame], DataFrame], table: str, domain: Domain) -> str:
    """Return in words where an aggregation fails; empty when no part of the date fails by itself.

    Args:
        silver: The date's rows.
        aggregate: Makes the Gold table of them; it has failed for all.
        table: Which table, for its merge keys.

    Raises:
        PySparkException: the engine does not answer.
    """
    personal = set(domain.subjects.values())
    keys = [
        key
        for key in domain.gold.tables[table]
        if key in silver.columns and key not in personal and key != domain.partition_key
    ]

    def fails(condition: Column) -> bool:
        try:
            aggregate(silver.where(condition)).toArrow()
        except pe.PySparkException:
            # An engine that has gone fails for everything, and would have every part named.
            silver.limit(1).toArrow()
            return True
        return False

    where = F.lit(1) == 1
    words = f"Gold table `{table}`"
    if keys:
        named = F.concat_ws(", ", *[_named(key) for key in keys])
        groups = sorted(row[0] for row in silver.select(named).distinct().collect())
        group = _narrowed(groups, lambda part: fails(named.isin(*part)))
        if len(group) != 1:
            return ""
        where, words = named == group[0], f"{words}, group {group[0]}"
    offsets = ("_partition", "_offset")
    records = sorted(
        (row["_topic"], row["_partition"], row["_offset"])
        for row in silver.where(where).select("_topic", *offsets).collect()
    )
    record = _narrowed(records, lambda part: fails(where & _within(part)))
    if len(record) == 1:
        topic, partition, offset = record[0]
        words = f"{words}, record {topic}:{partition}:{offset}"
    return words


def _named(key: str) -> Column:
    return F.concat(F.lit(f"{key}="), F.coalesce(F.col(key).cast("string"), F.lit(_NULL)))


def _narrowed(parts: Sequence[Part], fails: Callable[[Sequence[Part]], bool]) -> Sequence[Part]:
    """Return the fewest neighbours for which `fails` is still true, knowing that it is for all."""
    while len(parts) > 1:
        half = len(parts) // 2
        failing = next((some for some in (parts[:half], parts[half:]) if fails(some)), None)
        if failing is None:
            break
        parts = failing
    return parts


def _within(records: Sequence[tuple[str, int, int]]) -> Column:
    """Return whether a row is one of consecutive records, sorted by topic, Kafka partition and offset."""
    (topic, partition, offset), (last_topic, last_partition, last_offset) = records[0], records[-1]
    row = [F.col("_topic"), F.col("_partition"), F.col("_offset")]
    begins = (row[0] > topic) | (
        (row[0] == topic) & ((row[1] > partition) | ((row[1] == partition) & (row[2] >= offset)))
    )
    ends = (row[0] < last_topic) | (
        (row[0] == last_topic) & ((row[1] < last_partition) | ((row[1] == last_partition) & (row[2] <= last_offset)))
    )
    return begins & ends
