"""Source → Silver, a date: each row of the source database is in Silver in its present version, or on its way.

The rows are those that the domain's `quality.source` query counts. Whether one was polled is known from the
producer's watermark, which is read before everything else: what changes later was not polled yet. A run compares only
the totals (`compare_totals`), because rows may be on their way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from audit.dates import COMPARABLE, open_table
from audit.duckdb_tables import DeltaDate, database, exact, fetch, load_delta, names, one
from audit.kafka_log import AuditLog
from audit.report import CheckOutcome, Equation, Kind, Problem, Reason, Stage, StageResult, problems_of
from audit.source_database import SourceUnavailableError, read_source, read_source_rows, read_tombstones
from audit.stages.in_transit import OnTheWay, SourceRow
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain, Source
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition

if TYPE_CHECKING:
    from producers.postgres.fence import Position

_SELECT_LIST = re.compile(r"^\s*select\s.+?\sfrom\s", re.IGNORECASE | re.DOTALL)


def watermark(state_dir: Path, domain: Domain) -> Position | None:
    """Return how far the domain's producer has polled, None when its file is not on this machine.

    Raises:
        ConfigurationError: the file is not a watermark.
    """
    from producers.watermark import saved_position

    return saved_position(state_dir, domain)


def rows_query(source: Source, columns: Sequence[str]) -> str | None:
    """Return the domain's query with columns in the place of its totals; None if it is no plain SELECT ... FROM."""
    listed = ", ".join(f'"{name}"' for name in columns)
    query, found = _SELECT_LIST.subn(f"select {listed} from ", source.query, count=1)
    return query if found else None


@dataclass(frozen=True)
class SourceAccess:
    """What the stage is compared with.

    Attributes:
        dsn: The source database's URL.
        position: The producer's watermark, read before anything else.
        kafka: Opens Kafka; asked only for rows that are not in Bronze.
    """

    dsn: str
    position: Position | None
    kafka: Callable[[], AuditLog]


def dates_to_compare(known: Sequence[date], today: date) -> set[date]:
    """Return every date from the first that is known to today, for the source may have one that nobody has."""
    first = min(known, default=today)
    return {first + timedelta(days=number) for number in range((today - first).days + 1)}


def compare(lake: Lake, domain: Domain, day: date, partition: Partition | None, source: SourceAccess) -> StageResult:
    """Compare one date of a domain that has a `quality.source`.

    Args:
        lake: The lake.
        domain: The domain.
        day: The date.
        partition: What partition_meta knows of the date.
        source: The source database, the producer's watermark and Kafka.

    Raises:
        TransientError: a service did not answer.
    """
    assert domain.quality.source is not None
    columns = _compared_columns(domain, domain.quality.source)
    query = rows_query(domain.quality.source, columns)
    if query is None:
        if partition is None or partition.status not in COMPARABLE:
            return StageResult(Stage.SOURCE, domain.name, day, (), {Reason.NOT_PROCESSED_YET: 1})
        return compare_totals(lake, domain, day, source.dsn)
    with database() as connection:
        _load(connection, lake, domain, day, columns, read_source_rows(source.dsn, query, day))
        rows = _differences(connection, domain, columns, source.dsn)
        if rows.behind and source.position is None:
            text = (
                f"{len(rows.behind):,} rows are not in Silver, and the producer's watermark `{domain.name}.json` is"
                " not in `STATE_DIR` of this machine: whether they were polled cannot be told"
            )
            return StageResult(Stage.SOURCE, domain.name, day, not_checked=text)
        on_the_way = OnTheWay(lake, domain, source.position, source.kafka)
        return _result(domain, day, rows, on_the_way.explain(connection, day, partition, rows.behind))


def compare_totals(lake: Lake, domain: Domain, day: date, dsn: str) -> StageResult:
    """Compare only the totals of a date, by the query of domains.yaml.

    Returns:
        The result; its check `reconciles_with_source` warns and does not block: the source may have moved on since it
        was read, and the next correction brings that. A database that does not answer is a warning too.
    """
    source = domain.quality.source
    assert source is not None
    silver = DeltaDate(lake, lake.silver(domain), domain.partition_key, day).query(*source.silver)
    try:
        totals = read_source(dsn, source.query, day)
    except SourceUnavailableError as error:
        outcome = _totals_check(domain, False, {"not compared": error.message})
        return StageResult(Stage.SOURCE, domain.name, day, not_checked=error.message, checks=(outcome,))
    equal = len(totals) == len(silver) and all(exact(a) == exact(b) for a, b in zip(totals, silver, strict=True))
    facts = {name: f"source {a}, Silver {b}" for name, a, b in zip(source.silver, totals, silver, strict=False)}
    detail = "; ".join(f"{name}: {text}" for name, text in facts.items())
    problem = Problem(Stage.SOURCE, domain.name, day, Kind.DIFFERS, 1, detail=detail)
    return StageResult(
        Stage.SOURCE,
        domain.name,
        day,
        problems=() if equal else (problem,),
        checks=(_totals_check(domain, equal, facts),),
    )


def _totals_check(domain: Domain, passed: bool, facts: dict[str, Any]) -> CheckOutcome:
    return CheckOutcome("silver", domain.name, "reconciles_with_source", passed, facts, "WARN")


def _compared_columns(domain: Domain, source: Source) -> list[str]:
    """Return the key, the version, the columns whose totals domains.yaml compares, and `deleted_at`."""
    contract = [column.name for column in domain.contract.columns]
    summed = [name for name in contract if any(re.search(rf"\b{name}\b", text) for text in source.silver)]
    deleted = [name for name in contract if name == "deleted_at"]
    return list(dict.fromkeys([*domain.silver.primary_key, *domain.silver.order_by[:1], *summed, *deleted]))


def _load(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    domain: Domain,
    day: date,
    columns: Sequence[str],
    batches: Iterator[list[tuple[Any, ...]]],
) -> None:
    """Make the tables `silver` and `source`, with the same columns."""
    types = {name: bronze_schema(domain.contract).field(name).type for name in columns}
    silver = open_table(lake, lake.silver(domain))
    load_delta(connection, "silver", silver, domain.partition_key, day, types)
    connection.execute("create temp table source as select * from silver limit 0")
    for batch in batches:
        arrays = [pa.array(values, kind) for values, kind in zip(zip(*batch, strict=True), types.values(), strict=True)]
        connection.register("_batch", pa.table(arrays, names=list(columns)))
        connection.execute("insert into source select * from _batch")
        connection.unregister("_batch")


@dataclass(frozen=True)
class _Rows:
    """The rows of the source, and which of them Silver has otherwise.

    Attributes:
        total: How many the source has or has deleted.
        behind: Those that Silver does not have in their present version.
        different: Keys whose present version has other values in Silver.
        gone: Keys that only Silver has.
    """

    total: int
    behind: list[SourceRow]
    different: list[str]
    gone: list[str]


def _differences(connection: duckdb.DuckDBPyConnection, domain: Domain, columns: Sequence[str], dsn: str) -> _Rows:
    keys = domain.silver.primary_key
    version = domain.silver.order_by[0] if domain.silver.order_by else keys[0]
    joined = f"source a left join silver b using ({names(keys)})"
    newer = f'b."{keys[0]}" is null or b."{version}" < a."{version}"'
    others = [name for name in columns if name not in (*keys, version)]
    unequal = " or ".join([f'b."{version}" > a."{version}"', *(f'a."{n}" is distinct from b."{n}"' for n in others)])
    behind = fetch(connection, f'select {names(keys, "a")}, a."{version}" from {joined} where {newer} order by all')
    different = fetch(
        connection, f"select {names(keys, 'a')} from {joined} where not ({newer}) and ({unequal}) order by all"
    )
    # A row that is deleted at the source leaves its last version with `deleted_at`, which stays in Silver.
    alive = 'where "deleted_at" is null' if "deleted_at" in columns else ""
    gone = fetch(connection, f"select {names(keys)} from (from silver {alive}) anti join source using ({names(keys)})")
    deleted = _tombstones(domain, dsn, version, gone)
    [count] = one(connection, "select count(*) from source")
    return _Rows(
        count + len(deleted),
        [SourceRow(row[: len(keys)], row[-1]) for row in behind] + [SourceRow(*row) for row in deleted.items()],
        [_text(key) for key in different],
        [_text(key) for key in gone if key not in deleted],
    )


def _tombstones(domain: Domain, dsn: str, version: str, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
    """Return the last version of rows that the source has deleted, of a source that keeps tombstones."""
    table = domain.tombstone_table
    if len(domain.silver.primary_key) != 1 or not keys or table is None:
        return {}
    values = [key[0] for key in keys]
    found = read_tombstones(dsn, table, domain.silver.primary_key[0], version, values)
    return {(key,): at for key, at in found}


def _result(domain: Domain, day: date, rows: _Rows, reasons: Mapping[SourceRow, Reason]) -> StageResult:
    missing = [row for row in rows.behind if row not in reasons]
    parts: dict[str, int] = {
        "silver": rows.total - len(rows.behind) - len(rows.different),
        **Counter(reasons.values()),
        Kind.MISSING: len(missing),
        Kind.DIFFERS: len(rows.different),
    }
    listed = (
        (Kind.MISSING, missing, "in the source, polled, and neither in Silver nor on its way"),
        (Kind.DIFFERS, rows.different, "the same version has other values in Silver"),
        (Kind.PHANTOM, rows.gone, "in Silver, not in the source any more"),
    )
    equation = Equation("source rows", rows.total, parts)
    problems = problems_of(Stage.SOURCE, domain.name, day, listed)
    return StageResult(Stage.SOURCE, domain.name, day, (equation,), problems=problems)


def _text(key: Sequence[Any]) -> str:
    return " ".join(str(part) for part in key)
