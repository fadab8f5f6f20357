"""The proof of a demo: what each stage holds, counted from outside, and what is missing between stages.

Bronze is read by DuckDB over the Parquet files and the tables by delta-rs, neither of which wrote them. Printing
belongs to `report`; the demo decides what a difference means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import dlq_name
from warehouse.load import Connection


@dataclass(frozen=True)
class Account:
    """One domain, stage by stage, in records or rows.

    Attributes:
        produced: Records that the producers had confirmed.
        kafka: Records in the topic.
        dead_letters: Records in its dead-letter topic.
        bronze_rows: Rows in Bronze.
        bronze_offsets: Distinct (partition, offset) in Bronze.
        silver_rows: Rows in Silver.
        duplicates: Bronze rows that Silver dropped as copies: of an offset, or of a business key.
        quarantined: Rows in the quarantine table.
        gold_rows: Rows over all Gold tables.
        warehouse_rows: Rows over the domain's warehouse tables.
        lost: Records that are in a stage and in no place of the next one, summed over the stages.
    """

    produced: int
    kafka: int
    dead_letters: int
    bronze_rows: int
    bronze_offsets: int
    silver_rows: int
    duplicates: int
    quarantined: int
    gold_rows: int
    warehouse_rows: int
    lost: int

    def as_dict(self) -> dict[str, int]:
        """Return the fields by name."""
        return asdict(self)


def account_all(
    settings: Settings, catalog: Catalog, lake: Lake, produced: Mapping[str, int], warehouse: Connection
) -> dict[str, Account]:
    """Count every domain.

    Args:
        settings: For Kafka and the warehouse's database.
        produced: Confirmed records by domain.
        warehouse: An open connection.
    """
    topics = [name for d in catalog for name in (d.topic.name, dlq_name(d))]
    kafka: Counter[str] = Counter()
    with OperatorKafka(settings) as connection:
        partitions = [tp for topic in topics for tp in connection.partitions(topic)]
        for (topic, _), bounds in connection.bounds(partitions).items():
            kafka[topic] += bounds.records
    return {d.name: _account(settings, d, lake, produced.get(d.name, 0), kafka, warehouse) for d in catalog}


def _account(
    settings: Settings, domain: Domain, lake: Lake, produced: int, kafka: Mapping[str, int], warehouse: Connection
) -> Account:
    in_kafka, dead = kafka[domain.topic.name], kafka[dlq_name(domain)]
    rows, offsets, per_key = _bronze(domain, lake)
    silver = _rows(lake, lake.silver(domain))
    quarantined = _rows(lake, lake.quarantine(domain))
    gold = sum(_rows(lake, lake.gold(domain, table)) for table in domain.gold.tables)
    cursor = warehouse.cursor()
    home = f"{settings.snowflake_database}.{domain.warehouse_schema}"
    loaded = sum(
        int(cursor.execute(f"SELECT COUNT(*) FROM {home}.{table.upper()}").fetchone()[0])
        for table in domain.gold.tables
    )
    lost = (
        max(produced - in_kafka, 0)
        + max(in_kafka - dead - offsets, 0)
        # DuckDB's own deduplication of Bronze says how many rows Silver and the quarantine must have between them.
        + max(per_key - silver - quarantined, 0)
        + abs(gold - loaded)
    )
    return Account(
        produced=produced,
        kafka=in_kafka,
        dead_letters=dead,
        bronze_rows=rows,
        bronze_offsets=offsets,
        silver_rows=silver,
        duplicates=rows - silver - quarantined,
        quarantined=quarantined,
        gold_rows=gold,
        warehouse_rows=loaded,
        lost=lost,
    )


def _bronze(domain: Domain, lake: Lake) -> tuple[int, int, int]:
    """Return rows, distinct offsets, and distinct business keys a date, as DuckDB sees the files."""
    glob = lake.path(f"{lake.bronze(domain)}/*/*.parquet")
    key = ", ".join(f'"{name}"' for name in (domain.partition_key, *domain.silver.primary_key))
    [row] = duckdb.execute(
        f"""select count(*), count(distinct (_topic, _partition, _offset)), count(distinct ({key}))
            from read_parquet('{glob}', hive_partitioning = true, union_by_name = true)"""
    ).fetchall()
    return int(row[0]), int(row[1]), int(row[2])


def _rows(lake: Lake, name: str) -> int:
    table = lake.delta(name)
    return int(table.to_pyarrow_dataset().count_rows())


def gold_total(lake: Lake, domain: Domain, table: str, day: object, column: str) -> Decimal | int:
    """Return the exact sum of a Gold column over one date."""
    delta = lake.delta(lake.gold(domain, table))
    data: pa.Table = delta.to_pyarrow_table(columns=[column], filters=[(domain.partition_key, "=", day)])
    value: Any = pc.sum(data.column(column)).as_py()
    return value if value is not None else 0
