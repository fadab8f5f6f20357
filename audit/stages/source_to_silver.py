"""Source → Silver: each row of the source's table is in Silver in its present version, or on its way.

The table is that of the domain's `source` block. A source whose rows have their date in a column is compared date by
date; one whose records are dated by their extraction is compared as a whole, with the latest version of each key.
Whether a row was polled is known from the producer's watermark, which is read before everything else. A run compares
only the totals (`compare_totals`), because rows may be on their way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from audit.duckdb_tables import DeltaDate, fetch, load_bronze, load_delta, one, python_time
from audit.report import CheckOutcome, Equation, Kind, Problem, Reason, Stage, StageResult, problems_of
from audit.source_database import SourceUnavailableError, read_rows, read_totals, read_versions, source_time
from audit.stages.in_transit import OnTheWay, SourceAccess, SourceRow
from platform_core.domain.bronze_schema import arrow_type
from platform_core.domain.catalog import Domain
from platform_core.domain.source import PolledTable
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from warehouse.totals import exact

if TYPE_CHECKING:
    import duckdb

    from producers.postgres.fence import Position


def watermark(settings: Settings, domain: Domain) -> Position | None:
    """Return how far the domain's producer has polled, None when it is not in the lake nor on this machine.

    Raises:
        ConfigurationError: what is saved is not a watermark.
    """
    from producers.watermark import saved_position, state_of

    return saved_position(state_of(settings), domain)


def polled(domain: Domain) -> PolledTable | None:
    """Return the source whose rows can be compared: Silver has one row a key of its table."""
    source = domain.source
    return source if isinstance(source, PolledTable) and domain.silver.primary_key == (source.key,) else None


def is_comparable(domain: Domain) -> bool:
    """Return whether the source has anything that Silver must agree with: rows or totals."""
    return polled(domain) is not None or domain.quality.source is not None


def is_dated(domain: Domain) -> bool:
    """Return whether the source's rows have the date of their records in a column of their own."""
    return domain.bronze.timestamp_col != getattr(domain.source, "stamp", None)


def dates_to_compare(known: Sequence[date], today: date) -> set[date]:
    """Return every date from the first that is known to today, for the source may have one that nobody has."""
    first = min(known, default=today)
    return {first + timedelta(days=number) for number in range((today - first).days + 1)}


def compare(lake: Lake, domain: Domain, day: date | None, access: SourceAccess) -> StageResult:
    """Compare one date of a domain whose source is `polled`, or all of its rows.

    Args:
        day: The date; None for all rows, of a source that is not `is_dated`.

    Raises:
        TransientError: a service did not answer.
    """
    with database() as connection:
        _load(connection, lake, domain, day, access.dsn)
        rows = _differences(connection, domain, access, day)
        if rows.behind and access.position is None:
            text = (
                f"{len(rows.behind):,} rows are not in Silver, and the producer's watermark is neither in the"
                f" lake (`STATE_IN_LAKE`) nor, as `{domain.name}.json`, in `STATE_DIR` of this machine: whether they"
                " were polled cannot be told"
            )
            return StageResult(Stage.SOURCE, domain.name, day, not_checked=text)
        reasons = OnTheWay(lake, domain, access).explain(connection, day, rows.behind, rows.moved)
        if domain.silver.global_key:
            # The date that a row moved to answers for it; whether this one still has it, for Bronze → Silver to say.
            reasons = dict.fromkeys(rows.moved, Reason.MOVED) | reasons
        return _result(domain, day, rows, reasons)


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
        totals = read_totals(dsn, source.query, day)
    except SourceUnavailableError as error:
        outcome = _totals_check(domain, False, {"not compared": error.message})
        return StageResult(Stage.SOURCE, domain.name, day, not_checked=error.message, checks=(outcome,))
    equal = len(totals) == len(silver) and all(exact(a) == exact(b) for a, b in zip(totals, silver, strict=True))
    facts = {name: f"source {a}, Silver {b}" for name, a, b in zip(source.silver, totals, silver, strict=False)}
    detail = "; ".join(f"{name}: {text}" for name, text in facts.items())
    problem = Problem(Stage.SOURCE, domain.name, day, Kind.DIFFERS, 1, detail=detail)
    checks = (_totals_check(domain, equal, facts),)
    return StageResult(Stage.SOURCE, domain.name, day, problems=() if equal else (problem,), checks=checks)


def _totals_check(domain: Domain, passed: bool, facts: dict[str, Any]) -> CheckOutcome:
    return CheckOutcome("silver", domain.name, "reconciles_with_source", passed, facts, "WARN")


def _source(domain: Domain) -> PolledTable:
    source = polled(domain)
    assert source is not None
    return source


def _compared_columns(domain: Domain) -> list[str]:
    """Return the key, the version, the columns whose totals domains.yaml compares, and the mark of a deleted row."""
    source = _source(domain)
    totals = domain.quality.source.silver if domain.quality.source else ()
    summed = [name for name in domain.contract.by_name if any(re.search(rf"\b{name}\b", text) for text in totals)]
    deleted = [source.deleted_at] if source.deleted_at in domain.contract.by_name else []
    return list(dict.fromkeys([source.key, source.version, *summed, *deleted]))


def _load(connection: duckdb.DuckDBPyConnection, lake: Lake, domain: Domain, day: date | None, dsn: str) -> None:
    """Make the tables `silver` and `source`, with the same columns; a row with a value that none can hold is marked."""
    from producers.postgres.query import rows_query

    source, columns = _source(domain), _compared_columns(domain)
    types = {name: arrow_type(domain.contract.by_name[name]) for name in columns}
    silver = lake.delta_or_none(lake.silver(domain))
    load_delta(connection, "silver_rows", lake, silver, domain.partition_key, day, types)
    connection.execute(
        "create temp table silver as from silver_rows"
        f' qualify row_number() over (partition by "{source.key}" order by "{source.version}" desc nulls last) = 1'
        if day is None
        else "create temp table silver as from silver_rows"
    )
    if day is None:
        _load_extracted(connection, lake, domain, source.version)
    connection.execute("create temp table source as select *, false as unreadable from silver limit 0")
    kinds = {name: kind for name, kind, *_ in connection.execute("describe silver").fetchall()}
    values = ", ".join(f'try_cast("{name}" as {kinds[name]})' for name in columns)
    unreadable = " or ".join(
        f'("{name}" is not null and try_cast("{name}" as {kinds[name]}) is null)' for name in columns
    )
    for batch in read_rows(dsn, rows_query(domain, columns, dated=day is not None), day):
        arrays = [pa.array(texts, pa.string()) for texts in zip(*batch, strict=True)]
        connection.register("_batch", pa.table(arrays, names=columns))
        connection.execute(f"insert into source select {values}, {unreadable} from _batch")
        connection.unregister("_batch")


def _load_extracted(connection: duckdb.DuckDBPyConnection, lake: Lake, domain: Domain, version: str) -> None:
    """Make the relation `extracted`, which has the oldest version that was ever extracted, of any row."""
    if one(connection, "select count(*) from silver_rows")[0]:
        connection.execute(f'create temp view extracted as select "{version}" from silver_rows')
        return
    # Nothing of a young platform is processed yet: its first date in Bronze has what was extracted first. Files that
    # replace others have the same rows, so that nobody need know which of them count.
    files = [file for first in lake.list_dates(domain)[:1] for file in lake.list_folder(domain, first)[0]]
    load_bronze(connection, "extracted", lake, domain, files, [version])


@dataclass(frozen=True)
class _Rows:
    """The rows of the source, and which of them Silver has otherwise.

    Attributes:
        total: How many the source has, has deleted, or has on another date now.
        behind: Those that Silver does not have in their present version.
        different: Keys whose present version has other values in Silver.
        unreadable: Keys with a value that no layer can hold.
        before_first_poll: How many have not changed since before the oldest version that was ever extracted.
        moved: Rows that Silver has on this date and the source on another one; of a global key, deleted ones too.
        gone: Keys that only Silver has.
    """

    total: int
    behind: list[SourceRow]
    different: list[int]
    unreadable: list[int]
    before_first_poll: int
    moved: list[SourceRow]
    gone: list[int]


def _differences(
    connection: duckdb.DuckDBPyConnection, domain: Domain, access: SourceAccess, day: date | None
) -> _Rows:
    source, columns = _source(domain), _compared_columns(domain)
    key, version = f'"{source.key}"', f'"{source.version}"'
    joined = f"source a left join silver b using ({key})"
    newer = f"b.{key} is null or b.{version} < a.{version}"
    others = " or ".join(f"a.{name} is distinct from b.{name}" for name in map('"{}"'.format, columns[1:]))
    # A row that is deleted at the source leaves its last version with `deleted_at`, which stays in Silver.
    alive = f'where "{source.deleted_at}" is null' if source.deleted_at in columns else ""
    # A source that was read from a later time on has rows that no poll has ever seen.
    never = "false" if day else f"b.{key} is null and a.{version} < (select min({version}) from extracted)"
    [before_first_poll] = one(connection, f"select count(*) from {joined} where {never}")
    newer = f"({newer}) and not coalesce({never}, false)"
    behind = fetch(connection, f"select {key}, {python_time(f'a.{version}')} from {joined} where {newer} order by all")
    listed: dict[str, list[int]] = {}
    for name, condition in (("unreadable", "unreadable"), ("different", f"not unreadable and ({others})")):
        query = f"select {key} from {joined} where b.{key} is not null and not coalesce({newer}, false)"
        query += f" and ({condition}) order by all"
        listed[name] = [row[0] for row in fetch(connection, query)]
    lone = fetch(connection, f"select {key} from (from silver {alive}) anti join source using ({key}) order by all")
    gone = [row[0] for row in lone]
    # A row that moved has left a tombstone on the date that it left; only that one is of this date.
    of_date = (domain.bronze.timestamp_col, day) if day else None
    deleted = _versions(source, access.dsn, source.tombstones, gone, of_date)
    gone = [key for key in gone if key not in deleted]
    moved = _versions(source, access.dsn, source.table if day else None, gone)
    if domain.silver.global_key:
        moved |= _versions(source, access.dsn, source.tombstones, [key for key in gone if key not in moved])
    [count] = one(connection, "select count(*) from source")
    return _Rows(
        count + len(deleted) + len(moved),
        [*(SourceRow(*row) for row in behind), *deleted.values()],
        before_first_poll=before_first_poll,
        moved=list(moved.values()),
        gone=[key for key in gone if key not in moved],
        **listed,
    )


def _versions(
    source: PolledTable, dsn: str, table: str | None, keys: Sequence[int], dated: tuple[str, date] | None = None
) -> dict[int, SourceRow]:
    """Return the present versions of those keys that a table has; a version that Python cannot have is none."""
    if table is None or not keys:
        return {}
    versions = read_versions(dsn, table, source.key, source.version, keys, dated)
    return {key: SourceRow(key, source_time(text)) for key, text in versions.items()}


def _result(domain: Domain, day: date | None, rows: _Rows, reasons: Mapping[SourceRow, Reason]) -> StageResult:
    missing = [row for row in rows.behind if row not in reasons]
    moved = [row for row in rows.moved if row not in reasons]
    wrong = len(rows.different) + len(rows.unreadable)
    parts: dict[str, int] = {
        "silver": rows.total - len(rows.behind) - len(rows.moved) - rows.before_first_poll - wrong,
        Reason.BEFORE_FIRST_POLL: rows.before_first_poll,
        **Counter(reasons.values()),
        Kind.MISSING: len(missing),
        Kind.DIFFERS: wrong,
        Kind.PHANTOM: len(moved),
    }
    listed = (
        (Kind.MISSING, missing, "in the source, polled, and neither in Silver nor on its way"),
        (Kind.DIFFERS, rows.different, "the same version has other values in Silver"),
        (Kind.DIFFERS, rows.unreadable, "a value at the source that no layer can hold: NaN, infinity, a year before 1"),
        (Kind.PHANTOM, moved, "the source has the row on another date now"),
        (Kind.PHANTOM, rows.gone, "in Silver, neither in the source nor among its tombstones"),
    )
    equation = Equation("source rows", rows.total, parts)
    problems = problems_of(Stage.SOURCE, domain.name, day, listed)
    return StageResult(Stage.SOURCE, domain.name, day, (equation,), problems=problems)
