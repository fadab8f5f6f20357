"""Random odd JSON through both engines: the kit reads the same from a text, whatever a source wrote into it."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import Column

from plugin_kit.json_columns import list_of, struct_of
from tests.spark.conftest import Engine

FIELDS = {"name": "string", "id": "bigint", "quantity": "int", "price": "decimal(12,2)", "hot": "boolean"}

ODD_NUMBERS = (
    "0 -0 -0.0 1.0 2.50 007 1e2 1E2 1e-3 1e99 1e400 -1e999 2147483648 9223372036854775807 9223372036854775808"
    " 12345678.0 123456789012345678901234567890 NaN Infinity 1. .5 +1 0x10"
)

numbers = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(ODD_NUMBERS.split()),
)
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
strings = st.one_of(
    plain.map(lambda text: json.dumps(text, ensure_ascii=False)),
    plain.map(json.dumps),
    numbers.map('"{}"'.format),
    st.sampled_from(
        [
            '"1.00\\n"',
            '"true"',
            '"null"',
            '"[1"',
            '"{}"',
            '"\\ud800"',
            '"\\ud83c\\udf55"',
            '"\\\\ud800"',
            '"a\tb"',
            "'a'",
        ]
    ),
)
scalars = st.one_of(numbers, strings, st.sampled_from(["true", "false", "null", "True", "nul"]))
names = st.sampled_from([*(f'"{name}"' for name in FIELDS), '"Name"', '"other"', '""', '"n\\u0061me"', "name"])


def _array(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(names, values), max_size=6).map(_object)


values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3).map(_array), _objects(inner)), max_leaves=6
)
deep = st.integers(1, 200).map(lambda levels: f'{{"other":{"[" * levels}{"]" * levels},"id":1}}')
ordinary = st.integers(-9, 10**7).map(str)
prices = st.decimals(-100, 10**9, places=2).map('"{}"'.format)
whole = st.builds(
    lambda name, number, quantity, price, hot: (
        f'{{"name":{name},"id":{number},"quantity":{quantity},"price":{price},"hot":{hot}}}'
    ),
    plain.map(json.dumps) | strings,
    ordinary | numbers,
    ordinary | numbers,
    prices | prices | strings,
    st.sampled_from(["true", "false", '"true"']),
)
around = st.sampled_from([*["{}"] * 9, " {}\n", "{} x", "{}{{}}", "{},", "\ufeff{}", "[{}", "{}]"])
objects = st.builds(str.format, around, st.one_of(_objects(values), whole, whole, deep, scalars))
lists = st.builds(
    str.format, around, st.lists(st.one_of(whole, whole, _objects(values), scalars), max_size=3).map(_array)
)


def read(engine: Engine, texts: list[str], expression: Column) -> list[str | None]:
    df = engine.spark.createDataFrame(list(enumerate(texts)), "number int, text string")
    rows = df.select("number", expression.alias("value")).orderBy("number").collect()
    return [None if row["value"] is None else str(row["value"]) for row in rows]


@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(objects, min_size=80, max_size=160), st.lists(lists, min_size=80, max_size=160))
def test_both_engines_read_the_same(engines: dict[str, Engine], some_objects: list[str], some_lists: list[str]) -> None:
    for texts, expression in ((some_objects, struct_of("text", **FIELDS)), (some_lists, list_of("text", **FIELDS))):
        texts = [*texts, "{}", "[]"]  # one of them is readable, whatever is random
        spark, sail = (read(engines[name], texts, expression) for name in ("spark", "sail"))
        assert [(t, a, b) for t, a, b in zip(texts, spark, sail, strict=True) if a != b] == []
        assert any(value is not None for value in spark), "some of them are readable"
