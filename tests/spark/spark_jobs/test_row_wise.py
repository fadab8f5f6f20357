"""What a plan proves of a `Transform` and of rules: each row made of its own, or the whole date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from platform_core.domain.catalog import Catalog, Rule
from spark_jobs.bronze_to_silver import transformed_rows
from spark_jobs.correction.row_wise import RowWise, row_wise, sql_objection
from spark_jobs.reading.bronze import spark_schema
from tests.rigs.lake.bronze_days import DAY
from tests.spark.conftest import ENGINES, Engine

Transform = Callable[[DataFrame], DataFrame]

PROVEN: dict[str, Transform] = {
    "nothing": lambda df: df,
    "columns": lambda df: df.withColumns({"b": F.upper("a"), "c": F.col("n").cast("string")}),
    "SQL": lambda df: df.withColumn("b", F.expr("case when n in (1, 2) then coalesce(`a`, 'it''s') else a end")),
    "a lambda": lambda df: df.withColumn("b", F.transform(F.split("a", ","), lambda each: F.length(each) + F.col("n"))),
    "a projection": lambda df: df.select("id", F.col("n").alias("m"), "a"),
    "a star": lambda df: df.select("*", (F.col("n") + 1).alias("m")),
    "a name that begins as a function does": lambda df: df.select(
        "id", F.col("n").alias("user_id"), F.col("n").alias("overall")
    ).withColumn("b", F.col("user_id") + F.col("overall")),
    "a new name": lambda df: df.withColumnRenamed("a", "b").drop("n"),
}

NOT_PROVEN: dict[str, Transform] = {
    "a filter": lambda df: df.where("n > 1"),
    "a sort": lambda df: df.orderBy("n"),
    "a limit": lambda df: df.limit(3),
    "a sample": lambda df: df.sample(0.5),
    "a join": lambda df: df.join(df.select("id"), "id"),
    "a union": lambda df: df.union(df),
    "distinct rows": lambda df: df.distinct(),
    "a group": lambda df: df.groupBy("id").agg(F.max("n").alias("n")),
    "an aggregate": lambda df: df.select(F.max("id").alias("id")),
    "an aggregate in SQL": lambda df: df.select(F.expr("max(id)").alias("id")),
    "a window": lambda df: df.withColumn("b", F.row_number().over(Window.partitionBy("id").orderBy("n"))),
    "a window in SQL": lambda df: df.withColumn("b", F.expr("max(n) over (partition by id)")),
    "a subquery": lambda df: df.withColumn("b", F.expr("(select 1)")),
    "a generator": lambda df: df.withColumn("b", F.explode(F.split("a", ","))),
    "rand": lambda df: df.withColumn("b", F.rand()),
    "rand in SQL": lambda df: df.withColumn("b", F.expr("RAND ()")),
    "rand by a quoted name": lambda df: df.withColumn("b", F.expr("`rand`()")),
    "rand behind a quoted name": lambda df: df.withColumn("b", F.expr("concat(`it's`, rand(), `it's`)")),
    "uuid": lambda df: df.withColumn("b", F.expr("uuid()")),
    "an id of the row": lambda df: df.withColumn("b", F.monotonically_increasing_id()),
    "the partition": lambda df: df.withColumn("b", F.spark_partition_id()),
    "the file": lambda df: df.withColumn("b", F.input_file_name()),
    "the file's metadata": lambda df: df.withColumn("b", F.col("_metadata.file_path")),
    "the time": lambda df: df.withColumn("b", F.current_timestamp()),
    "the time in SQL": lambda df: df.withColumn("b", F.expr("current_date")),
    "the time as a literal": lambda df: df.withColumn("b", F.expr("timestamp 'now'")),
    "the time of a zone": lambda df: df.withColumn("b", F.expr("timestamp 'today UTC'")),
    "the time as a text with a zone": lambda df: df.withColumn("b", F.to_timestamp(F.lit("TODAY Europe/Zurich"))),
    "the user": lambda df: df.withColumn("b", F.col("current_user")),
    "the time as a text": lambda df: df.withColumn("b", F.lit("Today ").cast("date")),
    "shuffle": lambda df: df.withColumn("b", F.shuffle(F.split("a", ","))),
    "a comment": lambda df: df.withColumn("b", F.expr("n /* ' */ + rand() /* ' */")),
    "a key that is made": lambda df: df.withColumn("id", F.lower("id")),
    "a key of another case": lambda df: df.withColumn("ID", F.lower("id")),
    "a key that is cast": lambda df: df.select(F.col("id").cast("string"), "n"),
    "a key of SQL": lambda df: df.select(F.expr("upper(a) as id"), "n"),
    "a key by another name": lambda df: df.withColumnRenamed("a", "id"),
    "a key that is gone": lambda df: df.drop("id"),
}


@pytest.fixture(scope="module", params=ENGINES)
def given(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> DataFrame:
    spark = engines[request.param].spark
    return spark.createDataFrame([("k", 1, "a,b")], "id string, n int, a string")


def proof_of(given: DataFrame, transform: Transform, *rules: Rule) -> RowWise:
    return row_wise(given, transform(given), rules, ["id"])


@pytest.mark.parametrize("name", PROVEN)
def test_a_row_of_its_own_row_is_proven_and_known_again(given: DataFrame, name: str) -> None:
    proof = proof_of(given, PROVEN[name])
    assert proof.objection == ""
    assert proof.fingerprint
    assert proof_of(given, PROVEN[name]) == proof, "the same plan, made again"


@pytest.mark.parametrize("name", NOT_PROVEN)
def test_what_may_need_more_than_its_row_is_not_proven(given: DataFrame, name: str) -> None:
    proof = proof_of(given, NOT_PROVEN[name])
    assert proof.objection
    assert not proof.fingerprint


def test_a_function_of_the_domain_is_not_proven(given: DataFrame) -> None:
    function: Any = F.udf(lambda value: value, "string")
    assert proof_of(given, lambda df: df.withColumn("b", function("a"))).objection


def test_each_plan_has_a_fingerprint_of_its_own(given: DataFrame) -> None:
    proofs = [proof_of(given, transform) for transform in PROVEN.values()]
    proofs += [proof_of(given, PROVEN["nothing"], Rule(name="r", expression=text)) for text in ("n > 1", "n > 2")]
    assert len({proof.fingerprint for proof in proofs}) == len(proofs)


def test_a_constant_that_is_another_one_each_time_makes_another_plan(given: DataFrame) -> None:
    def stamped(df: DataFrame) -> DataFrame:
        return df.withColumn("made_at", F.lit(datetime.now(UTC)))

    assert proof_of(given, stamped).fingerprint != proof_of(given, stamped).fingerprint


@pytest.mark.parametrize(
    "expression",
    [
        "unix_timestamp() > 0",
        "n > rand()",
        "a = user",
        "exists (select 1)",
        "exists (table t)",
        "exists (from t |> limit 1)",
        "r'\\' = a or rand() > 0 or a = '\\'",
        "a = :name",
        "sum(n) > 0",
        "t < timestamp 'today UTC'",
        "t < timestamp 'n\\ow'",
        "t < timestamp 'n\\u006fw'",
        "t < timestamp 'n\\157w'",
    ],
)
def test_a_rule_that_may_need_more_than_its_row_is_not_proven(expression: str) -> None:
    assert sql_objection(expression)


@pytest.mark.parametrize(
    "expression", ["user_id > 0 and overall < 1", "a = 'nowhere' or a = 'days of today'", "a rlike '^\\\\d+$'"]
)
def test_a_rule_with_names_and_texts_that_only_look_like_it_is_proven(expression: str) -> None:
    assert sql_objection(expression) == ""


def test_the_domains_of_the_platform_are_proven(engines: dict[str, Engine], catalog: Catalog) -> None:
    for domain in catalog:
        empty = engines["sail"].spark.createDataFrame([], spark_schema(domain.contract))
        _, _, proof = transformed_rows(empty, domain, DAY)
        assert proof.objection == "", domain.name
