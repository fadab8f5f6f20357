"""Which words of a SQL expression are columns, and which expressions get no answer."""

from __future__ import annotations

import pytest

from spark_jobs.lineage.fields import LineageUnknownError
from spark_jobs.lineage.sql_text import sql_names

COLUMNS = ("a", "b", "day", "items", "my col", "name", "date", "current_date")


def is_column(name: str) -> bool:
    return name.lower() in COLUMNS


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a + 2 * B", ["a", "B"]),
        ("`my col` || 'a' || \"b\"", ["my col"]),
        ("case when a > 0 then -(b) else null end", ["a", "b"]),
        ("(2000000 * `a` + `b`) div nullif(2 * `b`, 0)", ["a", "b", "b"]),
        ("get(items, (size(items) - 1) div 100)", ["items", "items"]),
        ("items[0].name", ["items"]),
        ("get(items, 0).name", ["items"]),
        ("items.name is not null", ["items.name"]),
        ("t.a", ["t.a"]),
        ("cast(a as decimal(16, 0)) + b", ["a", "b"]),
        ("cast(a as timestamp) - interval 1 hour", ["a"]),
        ("try_cast(a as struct<b: int, name: string>)", ["a"]),
        ("named_struct('x', a)", ["a"]),
        ("struct(a as x, b)", ["a", "b"]),
        ("a::int + b", ["a", "b"]),
        ("date'2024-01-01' <= date", ["date"]),
        ("a - interval '1' day and day > 3", ["a", "day"]),
        ("date_add(a, 1) < current_timestamp", ["a"]),
        ("transform(items, x -> x.price * a)", ["items", "a"]),
        ("aggregate(items, 0, (total, x) -> total + x.name)", ["items"]),
        ("filter(items, x -> x.name = name)", ["items", "name"]),
        ("row_number() over (partition by a order by b desc nulls last)", ["a", "b"]),
        ("sum(a) over (order by b rows between unbounded preceding and current row)", ["a", "b"]),
        ("a is distinct from b", ["a", "b"]),
        ("count(*)", []),
        ("a * count(*)", ["a"]),
        ("1.5e3 + .5 + 10L", []),
        ("a like 'it''s \\' b' escape '/'", ["a"]),
        ("sum(a) filter (where b > 1)", ["a", "b"]),
        ("trim(both name from b)", ["b", "name"]),
        ("extract(hour from a)", ["a"]),
        ("dateadd(hour, 1, a)", ["a"]),
        ("exists(items, x -> x.name = name)", ["items", "name"]),
        ("a -- b", ["a"]),
        ("a /* b */", ["a"]),
        ("a::array<int>", ["a"]),
        ("a collate utf8_lcase", ["a"]),
        ("day(a)", ["a"]),
    ],
)
def test_columns(text: str, columns: list[str]) -> None:
    assert sorted(".".join(parts) for parts in sql_names(text, is_column).columns) == sorted(columns)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("a as c", "c"),
        ("a", "a"),
        ("items.name", "name"),
        ("`my col`", "my col"),
        ("a + 1", None),
        ("(a) as `x y`", "x y"),
    ],
)
def test_output(text: str, output: str | None) -> None:
    assert sql_names(text, is_column).output == output


@pytest.mark.parametrize(
    ("text", "counts"), [("count(*) * a", True), ("count(1)", True), ("count(a)", False), ("1", False)]
)
def test_counting_rows(text: str, counts: bool) -> None:
    assert sql_names(text, is_column).counts_rows is counts


@pytest.mark.parametrize(
    "text",
    [
        "(select max(a) from t)",
        "exists(select 1)",
        "extract(day from a)",
        "dateadd(day, 1, a)",
        "struct(*)",
        "count(distinct *)",
        "items.*",
        "a:b.c",
        "a + 'unclosed",
        "stack(2, a, b) as (x, y)",
        ":parameter",
        "?",
        "a + b, b",
        "a from t",
        "a limit 1",
        "distinct a",
        "a; b",
        "",
        "date_trunc(a, b)",
        "date_add(current_date, 1)",
        "cast(a as date)",
        "a - interval 1 day + b",
        "transform(items, a -> a + b)[0] + a",
        "f(name => a)",
        "transform(items, B -> b + 1)",
    ],
)
def test_no_answer_instead_of_a_guess(text: str) -> None:
    with pytest.raises(LineageUnknownError):
        sql_names(text, is_column)
