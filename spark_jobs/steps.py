"""The steps from Bronze to Silver, each a function from DataFrame to DataFrame without IO.

Add a step here when every domain needs it; what only one domain needs belongs in its `Transform`. Each expression
is one that Spark and Sail evaluate to the same value, and the docstring says where they would otherwise differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import add, and_

import pyarrow as pa
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from platform_core.domain.bronze_schema import RECORD_IDENTITY
from platform_core.domain.catalog import OnFailure, Rule, Silver
from platform_core.domain.contract import Column, ColumnType, Contract
from platform_core.domain.quality import BUILTIN_RULES
from platform_core.lake.key_versions import REFUSED
from spark_jobs.judging.unevaluable_rows import verdict

RECORD_HASH = "_record_hash"
RECORD = "_record"
REASON = "_reason"
WARNINGS = "_warnings"
BELONGS = "_belongs"
_ANY_GOOD = "_any_good"
NOT_EVALUATED = "the rule could not be evaluated, a value is missing or beyond what its expression takes"
SLICES = 1 << 18
"""Of a date's keys; so many that the slices of a few keys have few others."""

_BITS = 16
"""Rules that one number tells apart: so many sums one in another are sent as a plan, which may be some dozen deep."""

_ISO_MICROSECONDS = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"


def record_hash(contract: Contract) -> SparkColumn:
    """Return the SHA-256 (hex) over the contract columns in contract order.

    Each value is written as its length, a colon and its text, and NULL as `-`; so neither a NULL and an empty
    string, nor two neighbouring values, can be taken for one another.
    """
    return F.sha2(F.concat(*[_hash_input(column) for column in contract.columns]), 256)


def _hash_input(column: Column) -> SparkColumn:
    value = F.col(column.name)
    if column.type is ColumnType.TIMESTAMP:
        text = F.unix_micros(value).cast("string")
    elif column.type is ColumnType.NUMBER:
        # The text of a double differs (1.0E20 in Spark, 1e20 in Sail), the hash of its bits does not. A NULL has a
        # hash too, so it must be kept out.
        text = F.when(value.isNotNull(), F.xxhash64(value).cast("string"))
    else:
        text = value.cast("string")
    return F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit("-"))


def with_one_zero(df: DataFrame, silver: Silver) -> DataFrame:
    """Return the rows with 0.0 for a -0.0 in key and `order_by`: one value to Spark, and two to Sail or as texts."""
    kinds = {name: df.schema[name].dataType for name in (*silver.primary_key, *silver.order_by)}
    numbers = {name: F.col(name) for name, kind in kinds.items() if isinstance(kind, T.FloatType | T.DoubleType)}
    if not numbers:
        return df
    return df.withColumns({name: F.when(F.abs(n) == 0, F.abs(n)).otherwise(n) for name, n in numbers.items()})


def record_struct(schema: T.StructType) -> SparkColumn:
    """Return the whole Bronze record as a struct whose JSON text loses nothing.

    Timestamps become ISO-8601 text with microseconds, because `to_json` alone cuts them to milliseconds; decimals
    become text, because Sail drops their trailing zeros. A NULL field is absent from the JSON.
    """
    fields = []
    for field in schema.fields:
        value = F.col(field.name)
        if isinstance(field.dataType, T.TimestampType):
            value = F.date_format(value, _ISO_MICROSECONDS)
        elif isinstance(field.dataType, T.DecimalType | T.DateType):
            value = value.cast("string")
        fields.append(value.alias(field.name))
    return F.struct(*fields)


def without_addresses(text: SparkColumn) -> SparkColumn:
    """Return a JSON text with the first character and the domain of each e-mail address in it.

    A word ends at a space or a quote, because a class of white space has other characters in Spark than in Sail. Its
    last `@` separates, and may be escaped.
    """
    masked = F.regexp_replace(text, r'([^ "@\\])[^ "]*(?:@|\\u0040)', "$1***@")
    return F.when(text.contains("@") | text.contains(r"\u0040"), masked).otherwise(text)


def judge(df: DataFrame, rules: Sequence[Rule], unevaluable: Mapping[str, Collection[str]] | None = None) -> DataFrame:
    """Add `_reason`, each broken rule as `name: reason`, joined by `; `, and `_warnings`, the names of those that warn.

    A row breaks a rule when the expression is false, NULL or an error; of the last two the reason says that the rule
    could not be evaluated. Both columns are empty for a good row; only `_reason` decides whether a row is good.
    `_belongs` says whether a row breaks no builtin rule, and so is a version of its key.

    Args:
        unevaluable: The records for which a rule is an error, by rule, as `unevaluable_rows` has them.
    """
    warn = [rule for rule in rules if rule.on_failure is OnFailure.WARN]
    refuse = [rule for rule in rules if rule.on_failure is not OnFailure.WARN]
    errors = unevaluable or {}

    def broken(rule: Rule, text: str, text_of_null: str) -> SparkColumn:
        # An index into the texts, so that the expression is evaluated once.
        texts = F.array(F.lit(text), F.lit(None), F.lit(text_of_null))
        return F.get(texts, F.coalesce(verdict(rule.expression, errors.get(rule.name, ())), F.lit(2)))

    def reason(rule: Rule) -> SparkColumn:
        text = f"{rule.name}: {rule.reason or rule.expression}"
        return broken(rule, text, f"{text} ({NOT_EVALUATED})")

    # Not from `_reason`: an engine that filters by it evaluates every rule of every row once more.
    belongs = [F.expr(rule.expression) for rule in rules if rule.name in BUILTIN_RULES]
    reasons = [reason(rule) for rule in refuse]
    # Almost every row is good, and pays for no text.
    passed = [F.coalesce(verdict(rule.expression, errors.get(rule.name, ())), F.lit(2)) == 1 for rule in refuse]
    warnings = [broken(rule, rule.name, rule.name) for rule in warn]
    return df.withColumns(
        {
            REASON: F.when(reduce(and_, passed, F.lit(True)), F.lit("")).otherwise(F.concat_ws("; ", *reasons)),
            WARNINGS: F.concat_ws(",", *warnings) if warnings else F.lit(""),
            BELONGS: F.coalesce(reduce(and_, belongs), F.lit(False)) if belongs else F.lit(True),
        }
    )


def bad(df: DataFrame) -> DataFrame:
    """Return the rows that break a rule, a record's copies once; the first to arrive stays.

    The hash belongs to a record's identity, because a record without a time is told apart by nothing else.
    """
    return _first(df.where(_in_place(F.col(REASON) != "")), (*RECORD_IDENTITY, RECORD_HASH), [F.col("_ingested_at")])


def _in_place(predicate: SparkColumn) -> SparkColumn:
    """Keep a filter from being pushed into the Parquet scan, where Sail 0.7 fails on a lambda.

    A rule over parsed items contains one, and the scan does not find its columns (`No field named ...`). Neither
    engine moves an expression with `rand`, which is never negative.
    """
    return F.when(F.rand(0) >= 0, predicate)


def slice_of(primary_key: Sequence[str]) -> SparkColumn:
    """Return which of a date's `SLICES` a key is in, so that a query can leave out most rows before it judges them.

    All versions of a key are in one, and only one engine ever compares them.
    """
    return _slice(_key_hash(primary_key))


def _slice(key_hash: SparkColumn) -> SparkColumn:
    return F.pmod(key_hash, F.lit(SLICES))


def _key_hash(primary_key: Sequence[str]) -> SparkColumn:
    return F.xxhash64(F.concat_ws(":", *[F.col(name).cast("string") for name in primary_key]))


def latest_and_good(df: DataFrame, silver: Silver) -> DataFrame:
    """Return one row a primary key, the latest version, and of those only the ones that break no rule.

    The latest is chosen before the rules judge: a version that was refused, or a tombstone, must not bring back the
    one before it.
    """
    return _latest(df, silver).where(F.col(REASON) == "")


def withheld(df: DataFrame, silver: Silver) -> DataFrame:
    """Return the keys whose latest version is bad, of those that have a good one.

    Args:
        df: Judged rows, with all versions of each key that has a bad one; of others none is needed.
    """
    good = F.max(F.col(REASON) == "").over(Window.partitionBy(*silver.primary_key))
    refused = _latest(df.withColumn(_ANY_GOOD, good), silver).where((F.col(REASON) != "") & F.col(_ANY_GOOD))
    return refused.select(*silver.primary_key)


def key_versions(df: DataFrame, silver: Silver, columns: Sequence[str]) -> DataFrame:
    """Return the latest version of each key as these columns, and whether a rule refuses it."""
    return _latest(df, silver).select(*columns, (F.col(REASON) != "").alias(REFUSED))


def _latest(df: DataFrame, silver: Silver) -> DataFrame:
    """Return one row a primary key: the latest, in a total order, of those that break no builtin rule.

    `order_by` descending, then offset and partition descending; of two at one place, which only a topic has that was
    recreated, the later record's time, then `record_hash`. The copies of one record differ in `_ingested_at` only, and
    the first to arrive stays. So the result depends neither on the order of the files nor on parallelism, and
    deduplicates by offset and by key at once: a copy has the key of its record, and each window costs a shuffle of
    whole rows and, in Sail, 2.5 µs a row and function.
    """
    order = [
        *[F.col(name).desc_nulls_last() for name in silver.order_by],
        F.col("_offset").desc_nulls_last(),
        F.col("_partition").desc_nulls_last(),
        F.col("_kafka_timestamp").desc_nulls_last(),
        F.col(RECORD_HASH),
        F.col("_ingested_at"),
    ]
    return _first(df.where(F.col(BELONGS)), silver.primary_key, order)


def _first(df: DataFrame, group: Sequence[str], order: Sequence[SparkColumn]) -> DataFrame:
    window = Window.partitionBy(*group).orderBy(*order)
    return df.withColumn("_rank", F.row_number().over(window)).where(F.col("_rank") == 1).drop("_rank")


def survey(df: DataFrame, primary_key: Sequence[str], rules: Sequence[Rule]) -> DataFrame:
    """Count judged rows and keys by which rules that warn they break, those of odd keys also by `slice`.

    Odd is a key with a bad row or with several. A key without a slice has one row, a good one, which is all that
    `tally` would say of it for several times the cost. `warned_texts` reads the columns besides `slice` and `rows`.

    Keys are told apart by their hash, and what a row breaks is a number: only of columns of fixed width does Spark
    aggregate in a hash table, of a text it sorts every row, twice. Two keys of one hash look like a key with several
    rows, which is odd, and odd rows are looked at one by one.
    """
    broken = _warned_bits(rules)
    keys = df.groupBy(_key_hash(primary_key).alias("key_hash")).agg(
        F.count(F.lit(1)).alias("rows"),
        # As a number: for the greatest of booleans Sail makes an accumulator for each key, 0.4 µs a row.
        F.max((F.col(REASON) != "").cast("int")).alias("is_bad"),
        *[F.max(bits).alias(name) for name, bits in broken.items()],
    )
    is_odd = (F.col("is_bad") == 1) | (F.col("rows") > 1)
    return keys.groupBy(*broken, F.when(is_odd, _slice(F.col("key_hash"))).alias("slice")).agg(
        F.sum("rows").alias("rows")
    )


def warned_texts(survey: pa.Table, rules: Sequence[Rule]) -> list[str]:
    """Return the text that `_warnings` has in the rows of each line of `survey`."""
    names = _warn_names(rules)
    columns = [survey[f"warned_{first}"].to_pylist() for first in range(0, len(names), _BITS)]
    return [
        ",".join(name for n, name in enumerate(names) if columns[n // _BITS][line] >> n % _BITS & 1)
        for line in range(survey.num_rows)
    ]


def _warn_names(rules: Sequence[Rule]) -> list[str]:
    return [rule.name for rule in rules if rule.on_failure is OnFailure.WARN]


def _warned_bits(rules: Sequence[Rule]) -> dict[str, SparkColumn]:
    """Return a number for each `_BITS` of the rules that warn; a bit is set for a rule that `_warnings` names."""
    names, columns = _warn_names(rules), {}
    broken = F.split(F.col(WARNINGS), ",")
    for first in range(0, len(names), _BITS):
        bits = [
            F.when(F.array_contains(broken, name), F.lit(1 << n)).otherwise(F.lit(0)).cast("bigint")
            for n, name in enumerate(names[first : first + _BITS])
        ]
        columns[f"warned_{first}"] = F.when(F.col(WARNINGS) == "", F.lit(0).cast("bigint")).otherwise(reduce(add, bits))
    return columns


def of_odd_keys(df: DataFrame, primary_key: Sequence[str]) -> DataFrame:
    """Return the judged rows of keys that are odd to `survey`, which gives them a slice."""
    key = Window.partitionBy(_key_hash(primary_key))
    is_bad, rows = F.max(F.col(REASON) != "").over(key), F.count(F.lit(1)).over(key)
    return df.withColumns({"_is_bad": is_bad, "_rows": rows}).where(F.col("_is_bad") | (F.col("_rows") > 1))


def tally(df: DataFrame, primary_key: Sequence[str]) -> DataFrame:
    """Count judged rows by rule: `rule` (empty for good rows), `rows`, `records` (without copies) and `keys`.

    Keys with a bad row or with several have lines of their own, by `slice`.

    A record is counted once for its identity and key, a bad one, which may have no key, also for its hash.
    Chained aggregations, because a distinct count makes Spark send every row several times.

    A rule has one line for each combination of broken rules that warn, in `warnings`; `warned` counts its records. Of
    a key whose versions differ in it, the greatest text stands for all.
    """
    # A key may be named as what is counted here.
    key = {f"_key_{number}": F.col(name) for number, name in enumerate(primary_key)}
    record = {
        "rule": first_broken_rule(),
        **key,
        **{name: F.col(name) for name in RECORD_IDENTITY},
        "bad_hash": F.when(F.col(REASON) != "", F.col(RECORD_HASH)),
        "warnings": F.col(WARNINGS),
    }
    identity = df.select(*[column.alias(name) for name, column in record.items()])
    records = identity.groupBy(*record).agg(F.count(F.lit(1)).alias("rows"))
    keys = records.groupBy("rule", *key).agg(
        F.sum("rows").alias("rows"),
        F.count(F.lit(1)).alias("records"),
        F.max("warnings").alias("warnings"),
        F.count(F.when(F.col("warnings") != "", 1)).alias("warned"),
    )
    is_odd = (F.col("rule") != "") | (F.col("rows") > 1)
    return keys.groupBy("rule", "warnings", F.when(is_odd, slice_of(list(key))).alias("slice")).agg(
        F.sum("rows").alias("rows"),
        F.sum("records").alias("records"),
        F.count(F.lit(1)).alias("keys"),
        F.sum("warned").alias("warned"),
    )


def first_broken_rule() -> SparkColumn:
    """Return the name of the first rule in `_reason`; a rule's name has no colon.

    Not by `substring_index`: its result, as that of `left` and `md5`, has a type in Sail 0.7 that a Delta write with
    `replaceWhere` refuses.
    """
    return F.split_part(F.col(REASON), F.lit(":"), F.lit(1))
