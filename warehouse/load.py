"""The idempotent load of one date of a domain's Gold tables.

Each table goes to a staging table of its own run; then one transaction deletes the date's vanished keys, merges
what differs, compares, and writes the ledger. Running it twice changes nothing, failing halfway changes nothing.
Reading Gold and opening the connection belong to the caller.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_core.errors import PermanentError, ServiceDownError
from warehouse import ddl
from warehouse.totals import scales, totals_of_gold, totals_of_warehouse

log = logging.getLogger(__name__)


class Connection(Protocol):
    """The part of a Snowflake connection that a load uses."""

    def cursor(self) -> Any:
        """Return a cursor."""
        ...


@dataclass(frozen=True)
class GoldPartition:
    """One date of one Gold table, ready to load.

    Attributes:
        table: The Gold table's name.
        keys: Merge keys; the first is the date column.
        data: The date's rows.
    """

    table: str
    keys: tuple[str, ...]
    data: pa.Table


@dataclass(frozen=True)
class TableLoad:
    """What a load did to one table.

    Attributes:
        table: Fully qualified name in the warehouse.
        rows: Rows of the date after the load.
        deleted: Rows whose key had vanished from Gold.
        inserted: New rows.
        updated: Rows that differed.
        fingerprint: SHA-256 of the date's rows in key order.
    """

    table: str
    rows: int
    deleted: int
    inserted: int
    updated: int
    fingerprint: str

    @property
    def changed(self) -> int:
        """Rows that the load touched."""
        return self.deleted + self.inserted + self.updated


class LoadMismatchError(PermanentError):
    """Staging, target and Gold disagree; the transaction was rolled back."""


class WarehouseUnavailableError(ServiceDownError):
    """The warehouse could not be reached or refused the connection."""


def load_date(
    connection: Connection,
    *,
    database: str,
    schema: str,
    domain: str,
    day: date,
    run_id: str,
    partitions: Sequence[GoldPartition],
    prepared: set[str] | None = None,
) -> list[TableLoad]:
    """Make the warehouse's rows of one date equal to Gold's, for all of a domain's tables at once.

    Args:
        connection: An open connection with autocommit on.
        database: Target database; it must exist, creating it is the account's set-up.
        schema: The domain's schema, created when missing.
        domain: The domain's name, for the ledger.
        run_id: The run, for the ledger and the rows' `_RUN_ID`.
        partitions: The date's rows of each Gold table.
        prepared: The DDL that a run's earlier dates have sent, which is not sent again; a load that fails forgets it.

    Returns:
        What happened, a table each.

    Raises:
        LoadMismatchError: a key is NULL or occurs twice, or the target would differ from Gold; nothing was changed.
    """
    for part in partitions:
        _refuse_null_keys(part, day)
        _refuse_duplicates(part, day)
    prepared = set() if prepared is None else prepared
    try:
        return _load_date(connection.cursor(), database, schema, domain, day, run_id, partitions, prepared)
    except BaseException:
        prepared.clear()  # somebody may have dropped a table
        raise


def _load_date(
    cursor: Any,
    database: str,
    schema: str,
    domain: str,
    day: date,
    run_id: str,
    partitions: Sequence[GoldPartition],
    prepared: set[str],
) -> list[TableLoad]:
    tag = hashlib.sha256(f"{run_id}/{day}".encode()).hexdigest()[:12].upper()
    ledger = ddl.identifier(database, ddl.LEDGER_SCHEMA, ddl.LEDGER_TABLE)
    stage = ddl.identifier(database, schema, "PDP_STAGE")
    for statement in (
        f"CREATE SCHEMA IF NOT EXISTS {ddl.identifier(database, schema)}",
        f"CREATE SCHEMA IF NOT EXISTS {ddl.identifier(database, ddl.LEDGER_SCHEMA)}",
        f"CREATE TABLE IF NOT EXISTS {ledger} ({ddl.LEDGER_COLUMNS})",
        f"CREATE STAGE IF NOT EXISTS {stage}",
    ):
        _once(cursor, statement, prepared)
    staged: list[tuple[GoldPartition, str, str, str]] = []
    try:
        for part in partitions:
            target = ddl.identifier(database, schema, part.table)
            staging = ddl.identifier(database, schema, f"STG_{part.table}_{tag}")
            # All DDL comes before BEGIN: in Snowflake a DDL statement commits the open transaction.
            if _once(cursor, ddl.create_table(target, part.data.schema, part.keys), prepared):
                present = {row[0] for row in cursor.execute(ddl.describe_table(target)).fetchall()}
                for statement in ddl.add_columns(target, part.data.schema, present):
                    cursor.execute(statement)
            cursor.execute(f"CREATE OR REPLACE TRANSIENT TABLE {staging} LIKE {target}")
            staged.append((part, target, staging, fingerprint(part)))
            # A path of the run's own: COPY remembers the files it has loaded and would skip a second one.
            _stage(cursor, f"@{stage}/{part.table}/{day}/{tag}/", staging, part, day)
        with _transaction(cursor):
            loads = []
            for part, target, staging, digest in staged:
                loads.append(_merge(cursor, part, target, staging, digest, day, run_id))
            _write_ledger(cursor, ledger, domain, day, run_id, [load for load in loads if load.changed])
        return loads
    finally:
        for _, _, staging, _ in staged:
            cursor.execute(f"DROP TABLE IF EXISTS {staging}")


def _once(cursor: Any, statement: str, prepared: set[str]) -> bool:
    """Execute DDL that changes nothing a second time, and return whether it was to be; no date of a run repeats it."""
    if statement in prepared:
        return False
    cursor.execute(statement)
    prepared.add(statement)
    return True


def fingerprint(part: GoldPartition) -> str:
    """Return the SHA-256 (hex) of a date's rows, independent of their order."""
    ordered = part.data.sort_by([(key, "ascending") for key in part.keys])
    digest = hashlib.sha256(str(ordered.schema.names).encode())
    for row in zip(*(column.to_pylist() for column in ordered.columns), strict=True):
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _stage(cursor: Any, path: str, staging: str, part: GoldPartition, day: date) -> None:
    with tempfile.TemporaryDirectory(prefix="pdp-load-") as folder:
        file = Path(folder) / f"{part.table}-{day}.parquet"
        pq.write_table(_naive_utc(part.data), file, compression="snappy")
        cursor.execute(f"PUT 'file://{file}' {path} AUTO_COMPRESS=FALSE OVERWRITE=TRUE")
        loaded = cursor.execute(
            f"COPY INTO {staging} FROM {path} FILE_FORMAT=(TYPE=PARQUET USE_LOGICAL_TYPE=TRUE)"
            " MATCH_BY_COLUMN_NAME=CASE_INSENSITIVE ON_ERROR=ABORT_STATEMENT PURGE=TRUE"
        ).fetchall()
    rows = sum(int(row[3]) for row in loaded)
    if rows != part.data.num_rows:
        raise LoadMismatchError(
            f"Staging of Gold `{part.table}` {day} has {rows} rows of {part.data.num_rows}; nothing was loaded."
            " Run the date again."
        )


def _refuse_null_keys(part: GoldPartition, day: date) -> None:
    """Refuse a row without a key before it is staged: NULL equals nothing, so every load would insert it again."""
    lacking = [key for key in part.keys if part.data.column(key).null_count]
    if lacking:
        raise LoadMismatchError(
            f"Gold `{part.table}` {day} has rows whose key {', '.join(f'`{key}`' for key in lacking)} is NULL; nothing"
            " was loaded. Mend the aggregation: a merge key is never NULL."
        )


def _refuse_duplicates(part: GoldPartition, day: date) -> None:
    """Refuse a key that occurs twice before its rows are staged: MERGE would insert both."""
    keys = _naive_utc(part.data.select(list(part.keys)))
    counted = Counter(zip(*(column.to_pylist() for column in keys.columns), strict=True))
    key, times = next(iter(counted.most_common(1)), ((), 1))
    if times > 1:
        raise LoadMismatchError(
            f"Gold `{part.table}` {day} has the key {key} {times} times; nothing was loaded."
            " Mend the aggregation, its merge keys must be unique."
        )


@contextmanager
def _transaction(cursor: Any) -> Iterator[None]:
    cursor.execute("BEGIN")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        cursor.execute("ROLLBACK")
        raise


def _merge(
    cursor: Any, part: GoldPartition, target: str, staging: str, digest: str, day: date, run_id: str
) -> TableLoad:
    names = [ddl.identifier(name) for name in part.data.column_names]
    keys = [ddl.identifier(key) for key in part.keys]
    values = [name for name in names if name not in keys]
    dated = f"{keys[0]} = '{day.isoformat()}'"
    same_key = " AND ".join(f"t.{key} = s.{key}" for key in keys)
    differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in values) or "FALSE"
    assign = ", ".join(f"{name} = s.{name}" for name in values)
    deleted = cursor.execute(
        f"DELETE FROM {target} AS t WHERE t.{dated} AND NOT EXISTS (SELECT 1 FROM {staging} AS s WHERE {same_key})"
    ).fetchone()[0]
    run = ddl.literal(run_id)
    merged = cursor.execute(
        f"MERGE INTO {target} AS t USING {staging} AS s ON {same_key}"
        f" WHEN MATCHED AND ({differs}) THEN UPDATE SET {assign}{', ' if assign else ''}"
        f' "_LOADED_AT" = CURRENT_TIMESTAMP(), "_RUN_ID" = {run}'
        f' WHEN NOT MATCHED THEN INSERT ({", ".join(names)}, "_LOADED_AT", "_RUN_ID")'
        f" VALUES ({', '.join(f's.{name}' for name in names)}, CURRENT_TIMESTAMP(), {run})"
    ).fetchone()
    inserted, updated = int(merged[0]), int(merged[1])
    _compare(cursor, part, target, dated, day)
    table = target.replace('"', "")
    result = TableLoad(table, part.data.num_rows, int(deleted), inserted, updated, digest)
    log.info("warehouse_loaded table=%s date=%s rows=%d changed=%d", table, day, result.rows, result.changed)
    return result


def _write_ledger(cursor: Any, ledger: str, domain: str, day: date, run_id: str, loads: Sequence[TableLoad]) -> None:
    if not loads:
        return
    lines = [
        (
            *(domain, load.table, day.isoformat(), load.fingerprint),
            *(load.rows, load.deleted, load.inserted, load.updated, run_id),
        )
        for load in loads
    ]
    line = f"SELECT {', '.join(['%s'] * len(lines[0]))}, CURRENT_TIMESTAMP()"
    values = [value for each in lines for value in each]
    cursor.execute(f"INSERT INTO {ledger} {' UNION ALL '.join([line] * len(lines))}", values)


def _compare(cursor: Any, part: GoldPartition, target: str, dated: str, day: date) -> None:
    expected = totals_of_gold(part.data)
    in_warehouse = totals_of_warehouse(cursor, target, scales(part.data.schema), dated)
    if in_warehouse != expected:
        raise LoadMismatchError(
            f"`{part.table}` {day} would hold {in_warehouse}, Gold has {expected}: rolled back. Somebody else writes"
            " this table, or a column of it holds less than Gold's; find out who, or which."
        )


def _naive_utc(data: pa.Table) -> pa.Table:
    """Return the table with time zones taken off: TIMESTAMP_NTZ columns hold UTC."""
    for index, field in enumerate(data.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz:
            column = pc.cast(pc.cast(data.column(index), pa.timestamp("us", "UTC")), pa.timestamp("us"))
            data = data.set_column(index, field.name, column)
    return data
