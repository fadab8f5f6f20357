"""Each kind of relation and expression that lineage reads: its sources, and the names that the engine gives as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from spark_jobs.lineage import LineageSource, LineageUnknownError, column_lineage
from tests.spark.conftest import ENGINES, Engine

Build = Callable[[DataFrame], DataFrame]

SCHEMA = "a int, b int, c string, d string, items array<struct<name: string, price: int>>, s struct<x: int, y: int>"
COLUMNS = ("a", "b", "c", "d", "items", "s")
SAME = {name: name for name in COLUMNS}


@pytest.fixture(params=ENGINES)
def spark(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Iterator[SparkSession]:
    yield engines[request.param].spark


@pytest.fixture
def source(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], SCHEMA)


def lineage(df: DataFrame, source: DataFrame) -> dict[str, str]:
    found = column_lineage(df, LineageSource(source, COLUMNS))
    return {name: " ".join(sorted(made_of)) for name, made_of in found.items()}


def totals(df: DataFrame) -> DataFrame:
    return df.groupBy("c").agg(F.sum("a").alias("total"))


RELATIONS: dict[str, tuple[Build, dict[str, str]]] = {
    "source": (lambda df: df, SAME),
    "filter, sort, limit": (lambda df: df.where("a > 1").sort("b").limit(3).offset(1), SAME),
    "sample, hint, repartition": (lambda df: df.sample(0.5).repartition(2).coalesce(1), SAME),
    "drop_duplicates": (lambda df: df.dropDuplicates(["a"]), SAME),
    "null handling": (lambda df: df.fillna(0, ["a"]).dropna(subset=["b"]), SAME),
    "select": (lambda df: df.select("a", F.col("b").alias("c")), {"a": "a", "c": "b"}),
    "select star": (lambda df: df.select("*", F.lit(1).alias("one")), {**SAME, "one": ""}),
    "selectExpr": (lambda df: df.selectExpr("a + b as ab", "c", "s.x"), {"ab": "a b", "c": "c", "x": "s"}),
    "withColumn replaces": (lambda df: df.select("a", "b").withColumn("A", F.col("b")), {"A": "b", "b": "b"}),
    "withColumns see the input": (
        lambda df: df.select("a", "b").withColumns({"a": F.col("b"), "e": F.col("a")}),
        {"a": "b", "b": "b", "e": "a"},
    ),
    "rename": (lambda df: df.select("a", "b").withColumnsRenamed({"a": "b2", "b": "a"}), {"b2": "a", "a": "b"}),
    "drop": (lambda df: df.drop("a", "nothing", "items").drop(F.col("c")), {"b": "b", "d": "d", "s": "s"}),
    "alias": (lambda df: df.alias("t").select("t.a", F.col("t.s.x").alias("x")), {"a": "a", "x": "s"}),
    "aggregate": (
        lambda df: df.groupBy("c").agg(F.sum(F.col("a") + F.col("b")).alias("ab"), F.count(F.lit(1)).alias("n")),
        {"c": "c", "ab": "a b", "n": ""},
    ),
    "count": (lambda df: df.groupBy("c").count(), {"c": "c", "count": ""}),
    "count of groups": (
        lambda df: df.groupBy("c", "d").agg(F.max("a").alias("a")).where("a > 1").groupBy("c").count(),
        {"c": "c", "count": "d"},
    ),
    "count of distinct rows": (
        lambda df: df.select("a", "b").distinct().agg(F.expr("count(*)").alias("n")),
        {"n": "a b"},
    ),
    "rollup": (lambda df: df.rollup("c").agg(F.max("a").alias("m")), {"c": "c", "m": "a"}),
    "union": (
        lambda df: df.select("a", "c").union(df.select("b", "d")),
        {"a": "a b", "c": "c d"},
    ),
    "unionByName": (
        lambda df: df.select("a", "c").unionByName(df.select(F.col("d").alias("c"), "b"), allowMissingColumns=True),
        {"a": "a", "c": "c d", "b": "b"},
    ),
    "join using": (lambda df: df.select("a", "c").join(totals(df), "c"), {"c": "c", "a": "a", "total": "a"}),
    "right join using": (
        lambda df: df.select("a", "b").join(df.select(F.col("c").alias("b"), "d"), "b", "right"),
        {"b": "c", "a": "a", "d": "d"},
    ),
    "full join using": (
        lambda df: df.select("a", "b").join(df.select(F.col("c").alias("b"), "d"), "b", "full"),
        {"b": "b c", "a": "a", "d": "d"},
    ),
    "semi join": (lambda df: df.select("a", "c").join(totals(df), "c", "semi"), {"a": "a", "c": "c"}),
    "join on plan ids": (
        lambda df: _joined_on_plan_ids(df.select("a", "c"), df.select(F.col("b").alias("a"), "d")),
        {"left": "a", "right": "b", "d": "d"},
    ),
    "join on aliases": (
        lambda df: (
            df.alias("l")
            .join(totals(df).alias("r"), F.col("l.c") == F.col("r.c"))
            .select("l.a", F.col("r.total").alias("t"))
        ),
        {"a": "a", "t": "a"},
    ),
    "constants": (
        lambda df: df.select("c").join(df.sparkSession.createDataFrame([("x", 1)], "c string, rank int"), "c"),
        {"c": "c", "rank": ""},
    ),
}


def _joined_on_plan_ids(left: DataFrame, right: DataFrame) -> DataFrame:
    joined = left.join(right, left["a"] == right["a"])
    return joined.select(left["a"].alias("left"), right["a"].alias("right"), "d")


@pytest.mark.parametrize("name", RELATIONS)
def test_relation(source: DataFrame, name: str) -> None:
    build, expected = RELATIONS[name]
    df = build(source)
    found = lineage(df, source)
    assert found == expected
    assert list(found) == df.columns


EXPRESSIONS: dict[str, tuple[Callable[[], Column], str]] = {
    "literal": (lambda: F.lit(1), ""),
    "function": (lambda: F.coalesce("c", "d"), "c d"),
    "operator": (lambda: F.col("a") * 2 - F.col("b"), "a b"),
    "case": (lambda: F.when(F.col("a") > 1, F.col("b")).otherwise(F.lit(0)), "a b"),
    "cast": (lambda: F.col("a").cast("string"), "a"),
    "try_cast": (lambda: F.col("c").try_cast("int"), "c"),
    "nested field": (lambda: F.col("s.x"), "s"),
    "getField": (lambda: F.col("s").getField("x"), "s"),
    "getItem": (lambda: F.col("items")[0]["name"], "items"),
    "index by a column": (lambda: F.get("items", F.col("a")), "a items"),
    "struct": (lambda: F.struct("a", F.col("b").alias("x")), "a b"),
    "struct of everything": (lambda: F.struct("*"), " ".join(sorted(COLUMNS))),
    "withField": (lambda: F.col("s").withField("z", F.col("a")), "a s"),
    "dropFields": (lambda: F.col("s").dropFields("x"), "s"),
    "transform": (lambda: F.transform("items", lambda item: item["price"] * F.col("a")), "a items"),
    "aggregate": (
        lambda: F.aggregate("items", F.lit(0), lambda total, item: total + item["price"], lambda total: total * 2),
        "items",
    ),
    "exists": (lambda: F.exists("items", lambda item: item["name"] == F.col("c")), "c items"),
    "window": (lambda: F.sum("a").over(Window.partitionBy("c").orderBy(F.col("b").desc())), "a b c"),
    "rank": (lambda: F.row_number().over(Window.partitionBy("c").orderBy("b")), "b c"),
    "sql text": (lambda: F.expr("case when a > 1 then `b` else size(items) end"), "a b items"),
    "sql text with a lambda": (lambda: F.expr("transform(items, i -> i.price + a)"), "a items"),
    "call_function": (lambda: F.call_function("upper", F.col("c")), "c"),
    "explode": (lambda: F.explode("items"), "items"),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression(source: DataFrame, name: str) -> None:
    expression, expected = EXPRESSIONS[name]
    df = source.select(expression().alias("value"))
    assert lineage(df, source) == {"value": expected}
    assert df.columns == ["value"]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda df: df.select(F.col("a") + 1), id="a name that the engine makes up"),
        pytest.param(lambda df: df.select("a", F.col("b").alias("a")), id="one name twice"),
        pytest.param(lambda df: df.select("nothing"), id="no such column"),
        pytest.param(
            lambda df: df.crossJoin(df.select(F.col("b").alias("a"))).select("a"), id="a name with two meanings"
        ),
        pytest.param(lambda df: df.groupBy("c").pivot("d", ["x"]).sum("a"), id="pivot"),
        pytest.param(lambda df: df.sparkSession.sql("select 1 as a"), id="sql"),
        pytest.param(lambda df: df.select("a").intersect(df.select("b")), id="intersect"),
        pytest.param(lambda df: df.unpivot(["c"], ["a", "b"], "which", "value"), id="unpivot"),
        pytest.param(lambda df: df.sparkSession.read.parquet("/nowhere"), id="another table"),
        pytest.param(lambda df: df.select(F.expr("struct(*)").alias("x")), id="sql text that is not certain"),
        pytest.param(lambda df: df.select("s.*"), id="the fields of a struct"),
        pytest.param(lambda df: df.select(df.colRegex("`a|b`")), id="regular expression"),
        pytest.param(
            lambda df: df.select(df.sparkSession.range(1).select(F.max("id").alias("m")).scalar().alias("x")),
            id="subquery",
        ),
    ],
)
def test_no_lineage_instead_of_a_guess(source: DataFrame, build: Build) -> None:
    with pytest.raises(LineageUnknownError):
        lineage(build(source), source)


def test_a_column_of_another_dataframe_is_not_found_by_its_name(source: DataFrame) -> None:
    changed = source.withColumn("a", F.col("b"))
    with pytest.raises(LineageUnknownError, match="no column `a`"):
        lineage(changed.select(source["a"]), source)
