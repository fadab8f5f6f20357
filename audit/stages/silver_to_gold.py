"""Silver → Gold, a date: the totals of domains.yaml are equal, and each merge key occurs once.

The totals are evaluated by the check that also stands between Gold and the warehouse (`audit.checks`);
naming the groups that differ is added here. An aggregate without a total in `gold.reconcile` is not compared.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from deltalake.exceptions import TableNotFoundError

from audit.checks import Audited, CheckOutcome, check_gold
from audit.dates import COMPARABLE, while_unchanged
from audit.report import MAX_NAMED, Equation, Kind, Problem, Reason, Stage, StageResult
from platform_core.domain.catalog import Domain, Reconciliation
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader


def check(domain: Domain, lake: Lake, partitions: PartitionMetaReader, day: date) -> StageResult:
    """Compare one date of the Gold tables with Silver; a date that is not DONE or LATE is not processed yet.

    Raises:
        TransientError: a store did not answer, or the date did not rest.
    """

    def look(row: Partition | None) -> StageResult:
        if row is None or row.status not in COMPARABLE:
            return StageResult(Stage.GOLD, domain.name, day, (), {Reason.NOT_PROCESSED_YET: 1})
        return compare(domain, lake, day)

    return while_unchanged(partitions, domain, day, look)


def compare(domain: Domain, lake: Lake, day: date) -> StageResult:
    """Compare one date of the Gold tables with Silver, whatever its state."""
    try:
        outcomes = check_gold(lake, domain, day)
    except TableNotFoundError as error:
        problem = Problem(
            Stage.GOLD, domain.name, day, Kind.MISSING, 1, keys=(str(error).split("\n", 1)[0],), detail="no such table"
        )
        return StageResult(Stage.GOLD, domain.name, day, problems=(problem,))
    compared = [item for item in domain.gold.reconcile if item.table in domain.gold.tables]
    equal = len(compared)
    problems: list[Problem] = []
    for outcome in outcomes:
        if outcome.passed:
            continue
        if outcome.name == "unique_key":
            problems.append(_duplicate(domain, lake, day, outcome))
            continue
        for item in compared:
            if item.table == outcome.table:
                difference = _difference(domain, lake, day, item)
                equal -= difference is not None
                problems += [difference] if difference is not None else []
    totals = Equation("gold totals", len(compared), {"equal": equal, Kind.DIFFERS: len(compared) - equal})
    return StageResult(Stage.GOLD, domain.name, day, (totals,), {}, tuple(problems))


def _duplicate(domain: Domain, lake: Lake, day: date, outcome: CheckOutcome) -> Problem:
    keys = domain.gold.tables[outcome.table]
    gold = Audited(lake, lake.gold(domain, outcome.table), domain.partition_key, day)
    listed = ", ".join(f'"{key}"' for key in keys)
    any_null = " or ".join(f'"{key}" is null' for key in keys)
    twice = gold.rows(
        f"select {listed}, count(*) from audited group by {listed} having count(*) > 1 or {any_null}"
        f" order by all limit {MAX_NAMED}"
    )
    named = tuple(" ".join(f"{key}={value}" for key, value in zip(keys, row, strict=False)) for row in twice)
    count = outcome.facts["rows"] - outcome.facts["distinct_keys"] + outcome.facts["null_keys"]
    detail = f"table `{outcome.table}`: the merge key occurs more than once or is null"
    return Problem(Stage.GOLD, domain.name, day, Kind.DUPLICATE, count, keys=named, detail=detail)


def _difference(domain: Domain, lake: Lake, day: date, item: Reconciliation) -> Problem | None:
    gold = Audited(lake, lake.gold(domain, item.table), domain.partition_key, day)
    silver = Audited(lake, lake.silver(domain), domain.partition_key, day)
    [here], [there] = gold.query(item.gold), silver.query(item.silver)
    if (here or 0) == (there or 0):
        return None
    # The groups are a hint: of a session that visits two cities Gold counts one.
    groups = [
        key for key in domain.gold.tables[item.table] if key != domain.partition_key and key in silver.schema.names
    ]
    named: list[str] = []
    if groups:
        left, right = _by_group(gold, groups, item.gold), _by_group(silver, groups, item.silver)
        for group in sorted(left.keys() | right.keys(), key=str):
            a, b = left.get(group) or 0, right.get(group) or 0
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
        detail=f"table `{item.table}`: {item.gold} is {here}, {item.silver} over Silver is {there}",
    )


def _by_group(table: Audited, groups: list[str], total: str) -> dict[tuple[Any, ...], Any]:
    listed = ", ".join(f'"{name}"' for name in groups)
    return {tuple(row[:-1]): row[-1] for row in table.rows(f"select {listed}, {total} from audited group by {listed}")}
