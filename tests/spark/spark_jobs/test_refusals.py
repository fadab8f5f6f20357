"""What the jobs refuse, and in which words. Sail runs these: the refusals are the jobs' own, and it starts at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from platform_core.domain.catalog import Catalog, Domain, Quality, Rule
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.reading.bronze import read_bronze
from spark_jobs.writing import tables
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY
from tests.spark.conftest import Engine


@pytest.fixture
def sail(engines: dict[str, Engine], tmp_path: Path) -> Engine:
    base = engines["sail"]
    return Engine(base.name, base.remote, base.spark, Lake(Settings(lake_uri=str(tmp_path / "lake"))))


@pytest.fixture
def users(catalog: Catalog) -> Domain:
    return catalog["users"]


@pytest.fixture
def files(sail: Engine, users: Domain) -> list[str]:
    return bronze_days.write(sail.lake, users, DAY, bronze_days.users())


def use_transform(monkeypatch: pytest.MonkeyPatch, transform: Callable[[DataFrame], DataFrame]) -> None:
    plugin = SimpleNamespace(transform=lambda df, cfg: transform(df))
    monkeypatch.setattr(bronze_to_silver, "load_transform", lambda domain: plugin)


def use_aggregate(monkeypatch: pytest.MonkeyPatch, aggregate: Callable[[DataFrame], object]) -> None:
    plugin = SimpleNamespace(aggregate=lambda df, cfg, dt: aggregate(df))
    monkeypatch.setattr(silver_to_gold, "load_aggregation", lambda domain: plugin)


def test_a_pinned_file_that_is_gone(sail: Engine, users: Domain, files: list[str]) -> None:
    Path(sail.lake.path(files[1])).unlink()
    with pytest.raises(PermanentError, match=r"date 2026-11-20: Bronze file `.*` does not exist") as caught:
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    assert files[1] in caught.value.message
    assert not tables.exists(sail.lake, sail.lake.silver(users))


@pytest.mark.parametrize("content", [b"", b"half a file", b"PAR1" + b"x" * 100 + b"PAR1"], ids=["empty", "cut", "junk"])
def test_a_file_that_is_no_parquet_is_never_taken_for_no_rows(
    sail: Engine, users: Domain, files: list[str], content: bytes
) -> None:
    Path(sail.lake.path(files[1])).write_bytes(content)
    with pytest.raises(PermanentError, match=r"`users`, date 2026-11-20: Bronze file .* is damaged") as caught:
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    assert files[1] in caught.value.message
    assert not tables.exists(sail.lake, sail.lake.silver(users))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: pa.table({"name": ["somebody"]}), "is none of the sink's: it has no column `_topic`"),
        (lambda table: table.slice(0, 0), r"was rewritten: it has 0 rows, and its footer names \d+ offsets"),
        (lambda table: table.slice(1), r"was rewritten: it has \d+ rows, and its footer names \d+ offsets"),
    ],
    ids=["foreign", "without rows", "shorter"],
)
def test_a_pinned_file_that_is_not_what_the_sink_wrote(
    sail: Engine, users: Domain, files: list[str], change: Callable[[pa.Table], pa.Table], problem: str
) -> None:
    path = sail.lake.path(files[1])
    table = pq.read_table(path, partitioning=None)
    named = BronzeFooter("users", "raw-users", {0: OffsetRanges.of((0, table.num_rows - 1))})
    signed = table.replace_schema_metadata(named.to_metadata())
    pq.write_table(signed, path)
    bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    before = sail.lake.delta("silver/users").version()
    pq.write_table(change(signed), path)
    with pytest.raises(PermanentError, match=f"Bronze file `.*` {problem}") as caught:
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    assert files[1] in caught.value.message
    assert sail.lake.delta("silver/users").version() == before


def test_a_file_of_before_a_platform_column_came_is_read_with_null(
    sail: Engine, users: Domain, files: list[str]
) -> None:
    complete = bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    path = sail.lake.path(files[1])
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["_extra", "_kafka_timestamp"]), path)
    assert bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files).silver_rows == complete.silver_rows > 0
    silver = sail.lake.delta("silver/users").to_pyarrow_table()
    assert 0 < silver["_kafka_timestamp"].null_count < silver.num_rows


def test_a_copy_of_another_file_is_named_and_not_published(sail: Engine, users: Domain, files: list[str]) -> None:
    for number, name in enumerate(files):
        table = pq.read_table(sail.lake.path(name), partitioning=None)
        first = 1_000 * number
        footer = BronzeFooter("users", "raw-users", {0: OffsetRanges.of((first, first + table.num_rows - 1))})
        pq.write_table(table.replace_schema_metadata(footer.named(name).to_metadata()), sail.lake.path(name))
    bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    shutil.copyfile(sail.lake.path(files[0]), sail.lake.path(files[1]))
    with pytest.raises(PermanentError, match=rf"{Path(files[1]).name}` is a copy of `.*{Path(files[0]).name}`"):
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)


def test_a_file_with_another_schema_is_named(sail: Engine, users: Domain, files: list[str]) -> None:
    table = pq.read_table(sail.lake.path(files[1]), partitioning=None)
    wrong = table.set_column(table.schema.get_field_index("user_id"), "user_id", pa.array(["x"] * table.num_rows))
    pq.write_table(wrong, sail.lake.path(files[1]))
    with pytest.raises(PermanentError, match=rf"could not read a file, `.*{Path(files[1]).name}`: "):
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)


def test_an_engine_that_reads_other_rows_than_the_footers_count_is_refused(
    sail: Engine, users: Domain, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading_two(spark: SparkSession, lake: Lake, domain: Domain, day: date, files: list[str]) -> DataFrame:
        return read_bronze(spark, lake, domain, day, files).limit(2)

    monkeypatch.setattr(bronze_to_silver, "read_bronze", reading_two)
    with pytest.raises(PermanentError, match=r"the engine read \d rows of Bronze files whose footers count 11"):
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    assert not tables.exists(sail.lake, sail.lake.silver(users))


def test_gold_that_is_judged_badly_is_not_merged(sail: Engine, users: Domain, files: list[str]) -> None:
    def judge(rows: object) -> None:
        raise PermanentError("no")

    bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    with pytest.raises(PermanentError, match="no"):
        silver_to_gold.run(sail.spark, sail.lake, users, DAY, judge)
    assert not tables.exists(sail.lake, sail.lake.gold(users, "users"))


@pytest.mark.parametrize(
    "change", [lambda df: df.where("user_id <> 1"), lambda df: df.union(df)], ids=["drops", "multiplies"]
)
def test_a_transform_that_changes_the_number_of_rows(
    sail: Engine,
    users: Domain,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[DataFrame], DataFrame],
) -> None:
    use_transform(monkeypatch, change)
    with pytest.raises(PermanentError, match=r"11 Bronze rows became (9|22).*nothing was written"):
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    assert not tables.exists(sail.lake, sail.lake.silver(users))


def test_a_transform_that_loses_columns(
    sail: Engine, users: Domain, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_transform(monkeypatch, lambda df: df.drop("_offset", "updated_at"))
    with pytest.raises(PermanentError, match="lost the columns `_offset`, `updated_at`"):
        bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)


def test_a_rule_that_is_no_expression(sail: Engine, users: Domain, files: list[str]) -> None:
    broken = users.model_copy(update={"quality": Quality(rules=(Rule(name="typo", expression="teir = 'gold'"),))})
    with pytest.raises(PermanentError, match=r"domain `users`, date 2026-11-20.*teir"):
        bronze_to_silver.run(sail.spark, sail.lake, broken, DAY, files)


def test_a_rule_that_is_null_is_broken(sail: Engine, users: Domain, files: list[str]) -> None:
    strict = users.model_copy(
        update={"quality": Quality(rules=(Rule(name="gone", expression="deleted_at > created_at"),))}
    )
    result = bronze_to_silver.run(sail.spark, sail.lake, strict, DAY, files)
    assert result.quarantined == {"gone": 7, "in_partition": 1} and result.silver_rows == 2


def test_gold_without_silver(sail: Engine, users: Domain) -> None:
    with pytest.raises(PermanentError, match=r"does not exist\. Run bronze_to_silver first"):
        silver_to_gold.run(sail.spark, sail.lake, users, DAY)


def test_an_aggregate_that_breaks_its_promises(
    sail: Engine, users: Domain, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bronze_to_silver.run(sail.spark, sail.lake, users, DAY, files)
    use_aggregate(monkeypatch, lambda df: df.select("snapshot_date", "city", "tier", F.lit(1).alias("one")))
    with pytest.raises(PermanentError, match=r"7 rows for 3 combinations of the merge keys .*'city': 'B"):
        silver_to_gold.run(sail.spark, sail.lake, users, DAY)
    use_aggregate(monkeypatch, lambda df: {"users": df, "people": df})
    with pytest.raises(PermanentError, match=r"returned the tables \['people', 'users'\], but .* \['users'\]"):
        silver_to_gold.run(sail.spark, sail.lake, users, DAY)
    use_aggregate(monkeypatch, lambda df: df.groupBy("snapshot_date", "city").count())
    with pytest.raises(PermanentError, match=r"no column for the merge keys \['tier'\]"):
        silver_to_gold.run(sail.spark, sail.lake, users, DAY)
    assert not tables.exists(sail.lake, sail.lake.gold(users, "users"))
