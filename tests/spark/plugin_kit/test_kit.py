"""The plugin kit on both engines: the same value for the same text, and NULL, never an error, for what is none."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from plugin_kit.decimals import decimal, quotient, sum_of_money
from plugin_kit.json_columns import _list_of_any, _struct_of_any, list_of, struct_of
from tests.spark.conftest import ENGINES, Engine


@pytest.fixture(params=ENGINES)
def spark(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> SparkSession:
    session: SparkSession = engines[request.param].spark
    return session


def computed(spark: SparkSession, texts: Sequence[str | None], expression: Column) -> list[Any]:
    """Return the expression over the column `text` for each text, in their order."""
    df = spark.createDataFrame(list(enumerate(texts)), "number int, text string")
    return [row["value"] for row in df.select("number", expression.alias("value")).orderBy("number").collect()]


def test_only_plain_digits_are_a_decimal(spark: SparkSession) -> None:
    cases = {
        "12.30": Decimal("12.30"),
        "-0.05": Decimal("-0.05"),
        "7": Decimal("7.00"),
        "9999999999.99": Decimal("9999999999.99"),
        "10000000000.00": None,  # too large for twelve digits
        "1e3": None,
        "1,5": None,
        ".5": None,
        " 1": None,
        "1.00\n": None,  # Java's `$` lies before a line break at the end
        "abc": None,
        "": None,
        None: None,
    }
    assert computed(spark, list(cases), decimal(F.col("text"))) == list(cases.values())


LINE = {"id": "bigint", "name": "string", "quantity": "int", "price": "decimal(12,2)", "hot": "boolean"}
GOOD = '{"id": 1, "name": "soup", "quantity": 2, "price": "5.20", "hot": true}'


def test_a_list_is_whole_or_null(spark: SparkSession) -> None:
    soup = {"id": 1, "name": "soup", "quantity": 2, "price": Decimal("5.20"), "hot": True}

    def with_price(text: str) -> str:
        return GOOD.replace("5.20", text)

    cases: dict[str | None, Any] = {
        f"[{GOOD}]": [soup],
        f"[{GOOD}, {with_price('7')}]": [soup, {**soup, "price": Decimal("7.00")}],
        "[]": [],
        f"[{GOOD}]".replace(": 2,", ": 2.0,"): [soup],  # JSON knows no integers
        f"[{GOOD}]".replace('"5.20"', "5.20"): None,  # a decimal is text, or it was a double
        f"[{GOOD}]".replace("true", '1, "more": 1e400'): None,
        f"[{GOOD}, {with_price('abc')}]": None,
        f"[{with_price('1e3')}]": None,
        f"[{GOOD}]".replace(": 2,", ": 3000000000,"): None,  # no int
        f"[{GOOD}]".replace(": 1,", ": 99999999999999999999,"): None,  # no bigint
        f"[{GOOD}]".replace(": 1,", ": 9007199254740991.0,"): None,  # no double is so exact on both engines
        f"[{GOOD}]".replace(": 1,", ": 9007199254740993,"): [{**soup, "id": 2**53 + 1}],
        f"[{GOOD}]".replace(": 1,", ": 999999999999999.0,"): [{**soup, "id": 10**15 - 1}],
        f"[{GOOD}]".replace("soup", 's \\" \\\\ \\u00fc : '): [{**soup, "name": 's " \\ ü : '}],
        f"[{GOOD}, null]": None,
        '[{"id": 1}]': None,
        "not json": None,
        None: None,
    }
    found = computed(spark, list(cases), list_of("text", **LINE))
    assert [rows and [row.asDict() for row in rows] for rows in found] == list(cases.values())


def test_long_lists_are_read(spark: SparkSession) -> None:
    """Each is below what a record may have; three of them took gigabytes on Sail, and the date failed."""
    text = f"[{', '.join([GOOD.replace('soup', 'x' * 900)] * 1_000)}]"
    found = computed(spark, [text] * 3, F.size(list_of("text", **LINE)))
    assert found == [1_000] * 3


def test_an_object_is_read_wholly_or_not_at_all(spark: SparkSession) -> None:
    nothing = dict.fromkeys(LINE)
    cases = {
        GOOD: {"id": 1, "name": "soup", "quantity": 2, "price": Decimal("5.20"), "hot": True},
        '{"name": "ü", "quantity": 2.0}': {**nothing, "name": "ü", "quantity": 2},
        '{"name": "12345678901234567890123"}': {**nothing, "name": "12345678901234567890123"},
        '{"id": null, "other": 1.5}': nothing,
        "{}": nothing,
        '{"name": "ü", "quantity": 3000000000}': None,
        '{"name": "ü", "price": "x"}': None,
        '{"name": 12345678901234567890123}': None,  # the engines write it in two ways
        '{"name": "ü", "other": 1e400}': None,
        f'{{"id": 1, "other": {"[" * 130}{"]" * 130}}}': None,
        '{"name": "\\ud800"}': None,
        '{"name": "ü"} more': None,
        "[]": None,
        "null": None,
        "not json": None,
        "": None,
        None: None,
    }
    found = computed(spark, list(cases), struct_of("text", **LINE))
    assert [row and row.asDict() for row in found] == list(cases.values())


VALUES = {
    "id": ["0", "-0", "-1", "999999999999999", "1000000000000000", "1.0", "01", '"1"', "true", "null"],
    "name": ['""', '"ü 12"', '"a\\\\b"', '"null"', "7", "null", '"12:30"'],
    "quantity": ["999999999", "2147483648", "-7", "1e2", "null", '"2"'],
    "price": ['"0"', '"-0.05"', '"9999999999.99"', '"10000000000"', '"1.005"', '"x"', "5.20", "null"],
    "hot": ["true", "false", '"true"', "1", "null"],
}


def test_an_ordinary_text_is_read_quickly_and_alike(spark: SparkSession) -> None:
    """Each value of each kind, alone and beside good ones, in an object and in a list."""
    good = {"id": "1", "name": '"soup"', "quantity": "2", "price": '"5.20"', "hot": "true"}
    objects = [
        "{" + separator.join(f'"{name}":{space}{value}' for name, value in pairs.items()) + "}"
        for name, values in VALUES.items()
        for value in values
        for pairs, separator, space in (({name: value}, ",", ""), ({**good, name: value}, ", ", " "))
    ]
    careful = _struct_of_any(F.col("text"), LINE)
    assert computed(spark, objects, struct_of("text", **LINE)) == computed(spark, objects, careful)
    lists = ["[]", *[f"[{text}]" for text in objects], *[f"[{GOOD}, {text}]" for text in objects]]
    careful = _list_of_any(F.col("text"), LINE)
    assert computed(spark, lists, list_of("text", **LINE)) == computed(spark, lists, careful)


@pytest.mark.parametrize(
    ("units", "number", "kind", "expected"),
    [
        ("100", "3", "decimal(12,2)", "0.33"),
        ("5", "2", "decimal(12,2)", "0.03"),  # half a cent goes up,
        ("-5", "2", "decimal(12,2)", "-0.03"),  # away from zero
        ("1000000", "7", "decimal(9,6)", "0.142857"),
        ("5", "0", "decimal(12,2)", None),
        ("9223372036854775807", "1", "decimal(12,2)", None),
        ("100000000000000", "1", "decimal(10,2)", None),
        ("cast(null as bigint)", "1", "decimal(12,2)", None),
    ],
)
def test_a_quotient_is_rounded_once(spark: SparkSession, units: str, number: str, kind: str, expected: Any) -> None:
    found = spark.range(1).select(quotient(units, number, kind).alias("value"))
    assert dict(found.dtypes)["value"] == kind
    assert [row["value"] for row in found.collect()] == [None if expected is None else Decimal(expected)]


def test_nothing_sums_to_zero(spark: SparkSession) -> None:
    df = spark.createDataFrame([("1.10",), (None,), ("2.20",)], "text string").withColumn(
        "price", decimal(F.col("text"))
    )
    for rows, expected in ((df, "3.30"), (df.where("false"), "0.00")):
        found = rows.agg(sum_of_money("price").alias("value"))
        assert dict(found.dtypes)["value"] == "decimal(18,2)"
        assert found.collect()[0]["value"] == Decimal(expected)
