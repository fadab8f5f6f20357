"""Silver → Gold, a date: the totals of domains.yaml are equal, and each merge key occurs once.

A run compares before it loads the warehouse, and its checks block by this result; the audit compares at any time. An
aggregate without a total in `gold.reconcile` is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake.exceptions import TableNotFoundError

from audit.duckdb_tables import DateRows, DeltaDate, names
from audit.report import MAX_NAMED, CheckOutcome, Equation, Kind, Problem, Stage, StageResult
from platform_core.domain.catalog import Domain, Reconciliation
from platform_core.lake.lake import Lake
from warehouse.totals import exact

RECONCILES_WITH_SILVER = "reconciles_with_silver"
"""The check that the totals of domains.yaml are equal over Gold and over Silver; the UI plots what it compared."""


def compare(lake: Lake, domain: Domain, day: date, unmerged: Mapping[str, pa.Table] | None = None) -> StageResult:
    """Compare one date of the Gold tables with Silver.

    Args:
        unmerged: The rows that are to be merged into each table; the tables' own without.

    Returns:
        The result; its checks are `unique_key` and `reconciles_with_silver` of each table.
    """
    try:
        silver = DeltaDate(lake, lake.silver(domain), domain.partition_key, day)
        tables: dict[str, DateRows] = {
            table: DateRows(unmerged[table])
            if unmerged
            else DeltaDate(lake, lake.gold(domain, table), domain.partition_key, day)
            for table in domain.gold.tables
        }
    except TableNotFoundError as error:
        return _no_table(domain, day, str(error).split("\n", 1)[0])
    expressions = list(dict.fromkeys(pair.silver for pair in domain.gold.reconcile))
    expected = dict(zip(expressions, silver.query(*expressions), strict=True)) if expressions else {}
    results = [_compare_table(domain, day, table, gold, silver, expected) for table, gold in tables.items()]
    pairs = sum(pair.table in tables for pair in domain.gold.reconcile)
    different = sum(problem.kind is Kind.DIFFERS for _, problems in results for problem in problems)
    totals = Equation("gold totals", pairs, {"equal": pairs - different, Kind.DIFFERS: different})
    return StageResult(
        Stage.GOLD,
        domain.name,
        day,
        (totals,),
        problems=tuple(problem for _, problems in results for problem in problems),
        checks=tuple(outcome for outcomes, _ in results for outcome in outcomes),
    )


def _no_table(domain: Domain, day: date, text: str) -> StageResult:
    problem = Problem(Stage.GOLD, domain.name, day, Kind.MISSING, 1, keys=(text,), detail="no such table")
    outcomes = tuple(
        CheckOutcome("gold", table, RECONCILES_WITH_SILVER, False, {"no such table": text})
        for table in domain.gold.tables
    )
    return StageResult(Stage.GOLD, domain.name, day, problems=(problem,), checks=outcomes)


def _compare_table(
    domain: Domain, day: date, table: str, gold: DateRows, silver: DeltaDate, expected: Mapping[str, Any]
) -> tuple[list[CheckOutcome], list[Problem]]:
    keys = domain.gold.tables[table]
    pairs = [pair for pair in domain.gold.reconcile if pair.table == table]
    any_null = " or ".join(f'"{key}" is null' for key in keys)
    rows, null_keys, distinct, *totals = gold.query(
        "count(*)",
        f"count(case when {any_null} then 1 end)",
        f"(select count(*) from (select distinct {names(keys)} from audited))",
        *(pair.gold for pair in pairs),
    )
    problems = []
    compared: dict[str, Any] = {}  # a total as a number, which the UI plots; in words where it differs
    unique = distinct == rows and not null_keys
    if not unique:
        problems.append(_repeated_keys(domain, day, table, gold, rows - distinct + null_keys))
    for pair, total in zip(pairs, totals, strict=True):
        compared[pair.gold] = total
        if exact(total) != exact(expected[pair.silver]):
            compared[pair.gold] = f"Gold {total}, Silver {expected[pair.silver]}"
            problems.append(_difference(domain, day, pair, gold, silver, (total, expected[pair.silver])))
    equal = all(problem.kind is not Kind.DIFFERS for problem in problems)
    facts = {"rows": rows, "distinct_keys": distinct, "null_keys": null_keys}
    outcomes = [
        CheckOutcome("gold", table, "unique_key", unique, facts),
        CheckOutcome("gold", table, RECONCILES_WITH_SILVER, equal, compared),
    ]
    return outcomes, problems


def _repeated_keys(domain: Domain, day: date, table: str, gold: DateRows, count: int) -> Problem:
    keys = domain.gold.tables[table]
    any_null = " or ".join(f'"{key}" is null' for key in keys)
    repeated = gold.rows(
        f"select {names(keys)}, count(*) from audited group by {names(keys)} having count(*) > 1 or {any_null}"
        f" order by all limit {MAX_NAMED}"
    )
    named = tuple(" ".join(f"{key}={value}" for key, value in zip(keys, row, strict=False)) for row in repeated)
    detail = f"table `{table}`: the merge key occurs more than once or is null"
    return Problem(Stage.GOLD, domain.name, day, Kind.DUPLICATE, count, keys=named, detail=detail)


def _difference(
    domain: Domain, day: date, pair: Reconciliation, gold: DateRows, silver: DeltaDate, totals: tuple[Any, Any]
) -> Problem:
    # The groups are a hint: of a session that visits two cities Gold counts one.
    groups = [
        key for key in domain.gold.tables[pair.table] if key != domain.partition_key and key in silver.schema.names
    ]
    named = []
    if groups:
        in_gold, in_silver = _by_group(gold, groups, pair.gold), _by_group(silver, groups, pair.silver)
        for group in sorted(in_gold.keys() | in_silver.keys(), key=str):
            a, b = in_gold.get(group) or 0, in_silver.get(group) or 0
            if a != b:
                label = " ".join(f"{key}={value}" for key, value in zip(groups, group, strict=True))
                named.append(f"{label} (Gold {a}, Silver {b})")
    return Problem(
        Stage.GOLD,
        domain.name,
        day,
        Kind.DIFFERS,
        max(len(named), 1),
        keys=tuple(named[:MAX_NAMED]),
        detail=f"table `{pair.table}`: {pair.gold} is {totals[0]}, {pair.silver} over Silver is {totals[1]}",
    )


def _by_group(table: DateRows, groups: list[str], total: str) -> dict[tuple[Any, ...], Any]:
    rows = table.rows(f"select {names(groups)}, {total} from audited group by {names(groups)}")
    return {tuple(row[:-1]): row[-1] for row in rows}
