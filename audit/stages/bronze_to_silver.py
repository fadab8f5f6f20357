"""Bronze → Silver, a date: every business key of the date's files is in Silver or in the quarantine, once.

The expected rows are computed here a second time, by DuckDB and from the files alone, in the order that
docs/architecture.md promises: one row an offset, the latest version of a key, bad rows aside. Which rows are bad is
not judged again; a quarantined record is one that the quarantine table has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from audit.bronze_of_date import BronzeOfDate, bronze_of_date
from audit.duckdb_tables import AS_IDENTITY, ORIGIN, REFUSED_IDENTITY, fetch, load_delta, names, one, same
from audit.file_offsets import count_rows
from audit.report import MAX_NAMED, Equation, Kind, Problem, Reason, Stage, StageResult, problems_of
from audit.stages.agreeing_rows import leave_open, set_aside
from platform_core.domain.bronze_schema import RECORD_IDENTITY, bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.domain.quality import BUILTIN_RULES
from platform_core.lake.key_versions import REFUSED, KeyVersions, version_columns
from platform_core.lake.lake import Lake
from platform_kafka.offset_ranges import OffsetRanges

if TYPE_CHECKING:
    import duckdb

MAX_RANGES_READ = 100_000
"""Offsets of one problem that are read; more are counted only."""


def not_processed(lake: Lake, domain: Domain, day: date) -> StageResult:
    """Return the result of a date that no run has finished: every Bronze record waits."""
    waiting, unreadable = count_rows(lake, [file.name for file in lake.list_date(domain, day)])
    equation = Equation("bronze rows", waiting, {Reason.NOT_PROCESSED_YET: waiting})
    return StageResult(
        Stage.SILVER, domain.name, day, (equation,), problems=_file_problems(domain, day, [], unreadable)
    )


def compare(lake: Lake, domain: Domain, day: date, files: Sequence[str], *, is_late: bool = False) -> StageResult:
    """Compare one date of Silver and the quarantine with the files that they were made of.

    Args:
        lake: The lake.
        domain: The domain.
        day: The date.
        files: The files of the date's last run; what is listed besides them waits for the next run.
        is_late: Whether the date waits for a correction, so that rows which moved may still be, or not yet, in Silver.

    Raises:
        TransientError: a store did not answer.
    """
    with bronze_of_date(lake, domain, day, files) as bronze:
        return compare_with(bronze, is_late=is_late)


def compare_with(bronze: BronzeOfDate, *, is_late: bool = False) -> StageResult:
    """Compare one date of Silver and the quarantine with its Bronze rows, see `compare`."""
    connection, lake, domain, day = bronze.connection, bronze.lake, bronze.domain, bronze.day
    silver, quarantine = lake.delta_or_none(lake.silver(domain)), lake.delta_or_none(lake.quarantine(domain))
    schema = bronze_schema(domain.contract)
    kept = {name: schema.field(name).type for name in dict.fromkeys([*domain.silver.primary_key, *RECORD_IDENTITY])}
    load_delta(connection, "silver", lake, silver, domain.partition_key, day, kept)
    refused = {"rule": pa.string(), **REFUSED_IDENTITY, "record_hash": pa.string()}
    load_delta(connection, "quarantine", lake, quarantine, domain.partition_key, day, refused)
    agreeing = 0
    if domain.silver.global_key:
        leave_open(connection)  # what other dates have is asked of every key
    else:
        agreeing = set_aside(connection, domain.silver.primary_key)
    _expected_rows(connection, domain)
    _moved_rows(connection, lake, domain, day)
    _different_rows(connection, domain)
    waiting, broken = count_rows(lake, bronze.newer)
    result = _result(connection, domain, day, agreeing, waiting, waits_for_moves=is_late and domain.silver.global_key)
    # Rows of Silver that came from such a file are no phantoms.
    some_left_out = bronze.gone or bronze.unreadable
    others = [problem for problem in result.problems if not some_left_out or problem.kind is not Kind.PHANTOM]
    problems = (*_file_problems(domain, day, bronze.gone, {**bronze.unreadable, **broken}), *others)
    return replace(result, problems=problems)


def _file_problems(
    domain: Domain, day: date, gone: Sequence[str], unreadable: Mapping[str, str]
) -> tuple[Problem, ...]:
    listed = (
        (Kind.FILE_MISSING, gone, "Silver was made of files that Bronze does not have any more"),
        (Kind.UNREADABLE_FILE, list(unreadable), f"left out: {next(iter(unreadable.values()), '')}"),
    )
    return problems_of(Stage.SILVER, domain.name, day, listed)


def _expected_rows(connection: duckdb.DuckDBPyConnection, domain: Domain) -> None:
    """Make the tables of open records, each offset once, and of those of them that Silver must have (`_rank` 1)."""
    keys, order = domain.silver.primary_key, domain.silver.order_by
    latest = ", ".join(f'"{name}" desc nulls last' for name in (*order, "_offset", "_partition", "_kafka_timestamp"))
    versions = names(list(dict.fromkeys([*keys, *order, *RECORD_IDENTITY])))
    is_builtin = f"rule in ({', '.join(map(repr, BUILTIN_RULES))})"
    connection.execute(f"""
        create temp table refused as
        select {AS_IDENTITY}, bool_or({is_builtin}) as _is_builtin from quarantine group by all;

        create temp table records as
        select d.*, r._offset is not null as _is_refused, coalesce(_is_builtin, false) as _is_no_version
        from (select {versions}, count(*) as _copies from open_bronze group by {versions}) d
        left join refused r on {same(RECORD_IDENTITY, "r", "d")};

        create temp table expected as
        select *, row_number() over (partition by {names(keys)} order by {latest}) as _rank
        from records where not _is_no_version;
    """)


def _moved_rows(connection: duckdb.DuckDBPyConnection, lake: Lake, domain: Domain, day: date) -> None:
    """Make the tables of keys that another date has in a later version, and of versions that are stored otherwise.

    What other dates have is known from their stored versions, which are compared with Bronze on their own dates.
    """
    keys, columns = domain.silver.primary_key, version_columns(domain)
    connection.execute(f"create temp table moved as select {names(keys)} from expected limit 0")
    connection.execute(f"create temp table stored_otherwise as select {names([*keys, *ORIGIN])} from expected limit 0")
    if domain.silver.global_key:
        latest = connection.sql(
            f"select {names(columns)}, _is_refused as {REFUSED} from expected where _rank = 1"
        ).to_arrow_table()
        versions = KeyVersions(lake, domain)
        connection.register("_moved", versions.compare(day, latest).outdated)
        connection.execute("insert into moved from _moved")
        stored = versions.of_date(day)
        connection.register("_stored", latest.slice(0, 0) if stored is None else stored)
        connection.register("_latest", latest)
        listed = names([*columns, REFUSED])
        connection.execute(
            f"insert into stored_otherwise select {names(keys)}, null, _partition, _offset from"
            f" ((select {listed} from _latest except select {listed} from _stored)"
            f" union (select {listed} from _stored except select {listed} from _latest))"
        )
    connection.execute("delete from expected where _is_refused")


def _different_rows(connection: duckdb.DuckDBPyConnection, domain: Domain) -> None:
    """Make a table of each way in which Silver and the quarantine differ from the expected rows."""
    keys = domain.silver.primary_key
    identity = names([*keys, *RECORD_IDENTITY])
    latest_elsewhere = f"exists (select 1 from moved m where {same(keys, 'm', 'e')})"
    connection.execute(f"""
        create temp table kept as select {identity}, count(*) as _copies from open_silver group by all;

        create temp table missing as
        select {identity} from expected e where _rank = 1 and not {latest_elsewhere}
        and not exists (select 1 from open_silver s where {same(keys, "s", "e")});

        create temp table phantom as
        select {identity}, _copies from kept k
        where not exists (select 1 from records r where {same([*keys, *RECORD_IDENTITY], "r", "k")});

        create temp table also_refused as
        select {identity}, _copies from kept k
        where exists (select 1 from records r where {same([*keys, *RECORD_IDENTITY], "r", "k")} and _is_refused);

        create temp table outdated as
        select {names([*keys, *ORIGIN], "k")}, k._copies
        from kept k join expected e on {same([*keys, *RECORD_IDENTITY], "e", "k")}
        where e._rank > 1;

        create temp table moved_and_kept as
        select {names([*keys, *ORIGIN], "k")}, k._copies
        from kept k join expected e on {same([*keys, *RECORD_IDENTITY], "e", "k")}
        where e._rank = 1 and {latest_elsewhere};

        create temp table duplicate as
        select {names(keys)}, min_by(_topic, _offset) as _topic, min_by(_partition, _offset) as _partition,
               min(_offset) as _offset, count(*) as _copies
        from open_silver group by {names(keys)} having count(*) > 1;

        create temp table refused_nowhere as
        select * from (select {AS_IDENTITY} from quarantine) q
        where not exists (select 1 from open_bronze b where {same(RECORD_IDENTITY, "b", "q")});

        create temp table refused_twice as
        select {AS_IDENTITY}, count(*) as _copies
        from quarantine group by {names(list(REFUSED_IDENTITY))}, record_hash having count(*) > 1;
    """)


def _result(
    connection: duckdb.DuckDBPyConnection,
    domain: Domain,
    day: date,
    agreeing: int,
    waiting: int,
    *,
    waits_for_moves: bool,
) -> StageResult:
    rows, open_rows, records, refused = one(
        connection,
        "select (select count(*) from bronze), (select count(*) from open_bronze), count(*),"
        " count(*) filter (_is_refused) from records",
    )
    wanted, older = one(connection, "select count(*) filter (_rank = 1), count(*) filter (_rank > 1) from expected")
    missing, phantom, again, moved, moved_and_kept = one(
        connection,
        f"""select (select count(*) from missing), (select coalesce(sum(_copies), 0) from phantom),
                   (select coalesce(sum(_copies - 1), 0) from duplicate),
                   (select count(*) from expected e semi join moved using ({names(domain.silver.primary_key)})
                    where _rank = 1), (select count(*) from moved_and_kept)""",
    )
    unmoved = missing + moved_and_kept if waits_for_moves else 0
    bronze = Equation(
        "bronze rows",
        rows + waiting,
        {
            "silver": agreeing + wanted - missing - moved,
            Reason.OLDER_VERSION: older,
            Reason.MOVED: moved - moved_and_kept if waits_for_moves else moved,
            Reason.DELIVERED_AGAIN: open_rows - records,
            Reason.QUARANTINED: refused,
            Reason.NOT_PROCESSED_YET: waiting + unmoved,
            Kind.MISSING_IN_SILVER: 0 if waits_for_moves else missing,
        },
    )
    found = [
        ("missing", Kind.MISSING_IN_SILVER, missing, "in Bronze, neither in Silver nor in the quarantine"),
        ("outdated", Kind.WRONG_VERSION, None, "Bronze has a later version of the key"),
        ("stored_otherwise", Kind.WRONG_VERSION, None, "the table of key versions does not have what Bronze has"),
        ("phantom", Kind.PHANTOM, phantom, "no Bronze row of the date has this key at this offset"),
        ("duplicate", Kind.DUPLICATE, again, "the key is in Silver more than once"),
        ("also_refused", Kind.ALSO_QUARANTINED, None, "the record is in Silver and in the quarantine"),
        ("refused_nowhere", Kind.PHANTOM, None, "a quarantined row whose offset Bronze does not have"),
        ("refused_twice", Kind.DUPLICATE, None, "the quarantine has the record more than once"),
    ]
    if waits_for_moves:
        found = [each for each in found if each[0] != "missing"]
    else:
        found.append(("moved_and_kept", Kind.WRONG_VERSION, None, "another date has a later version of the key"))
    problems = [_problem(connection, domain, day, *each) for each in found]
    return StageResult(Stage.SILVER, domain.name, day, (bronze,), problems=tuple(filter(None, problems)))


def _problem(
    connection: duckdb.DuckDBPyConnection,
    domain: Domain,
    day: date,
    table: str,
    kind: Kind,
    count: int | None,
    detail: str,
) -> Problem | None:
    total = one(connection, f"select count(*) from {table}")[0]
    if not total:
        return None
    keys = () if table.startswith("refused") else domain.silver.primary_key
    listed = names([*keys, *ORIGIN])
    rows = fetch(connection, f"select {listed} from {table} order by _partition, _offset limit {MAX_RANGES_READ}")
    offsets: dict[int, list[int]] = {}
    for *_, partition, offset in rows:
        if partition is not None and offset is not None:
            offsets.setdefault(partition, []).append(offset)
    named = [" ".join(f"{name}={value}" for name, value in zip(keys, row, strict=False)) for row in rows[:MAX_NAMED]]
    return Problem(
        Stage.SILVER,
        domain.name,
        day,
        kind,
        int(total if count is None else count),
        rows[0][-3],
        {partition: OffsetRanges.from_offsets(some) for partition, some in offsets.items()},
        tuple(named) if keys else (),
        detail,
    )
