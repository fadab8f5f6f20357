"""The SQL that reads a domain's table: made from its `source` block and its contract, the same for every domain.

How a column becomes a value of a record belongs here, and how a page is asked for; when it is asked for, and what
became of it, belongs to the producers of each kind.
"""

from __future__ import annotations

from collections.abc import Sequence

from platform_core.domain.catalog import Domain
from platform_core.domain.contract import Column, ColumnType
from platform_core.domain.source import PolledTable, PostgresIncrement, PostgresSnapshot, PostgresTable

# `to_char` has no word for infinity and leaves an era out: both are written so that the contract refuses them.
UTC_TIME = """CASE WHEN isfinite({name})
      THEN to_char({name}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || CASE WHEN {name} < '0001-01-01Z' THEN ' BC' ELSE '' END
      ELSE {name}::text END"""

# Live rows and tombstones come each from its index, at most a page of them: a page costs the same whatever the tables
# hold. The inner limits are needed: without them Postgres 15 reads and sorts all that is left of both tables.
PAGE = """
  (SELECT {columns}
  FROM {table}
  WHERE ({version}, {key}) > (%(after_at)s::timestamptz, %(after_key)s)
    AND ({version}, {key}) <= (%(until_at)s::timestamptz, %(until_key)s)
    AND (%(transaction)s::text IS NULL OR age(xmin) <= age(%(transaction)s::text::xid))
  ORDER BY {version}, {key} LIMIT %(page_rows)s)"""

CHANGES = """
SELECT r.{key}, r.{version}::text, row_to_json(document)::text
FROM ({pages}
  ORDER BY {version}, {key}
  LIMIT %(page_rows)s
) r
CROSS JOIN LATERAL (
  SELECT {document}
) document
ORDER BY r.{version}, r.{key}
"""

ALL_ROWS = """
SELECT r.{key}, row_to_json(document)::text
FROM (SELECT {columns} FROM {table}) r
CROSS JOIN LATERAL (
  SELECT {document}
) document
ORDER BY r.{key}
"""


def changes_query(domain: Domain) -> str:
    """Return the query of a `FencedReader`: (key, version, document) of rows and tombstones behind a position."""
    source = domain.source
    assert isinstance(source, PolledTable)
    names = {"version": _quoted(source.version), "key": _quoted(source.key)}
    columns = _columns(domain, source)
    # The driver reads a percent sign as the beginning of a parameter.
    live = ", ".join(_computed(source, column).replace("%", "%%") for column in columns)
    pages = PAGE.format(columns=live, table=_quoted(source.table), **names)
    if source.tombstones is not None:
        buried = ", ".join(_quoted(column.name) for column in columns)
        pages += "\n  UNION ALL" + PAGE.format(columns=buried, table=_quoted(source.tombstones), **names)
    return CHANGES.format(pages=pages, document=_document(columns), **names)


def all_rows_query(domain: Domain) -> str:
    """Return the query of a snapshot: key and document of every row, in one statement and so one consistent view."""
    source = domain.source
    assert isinstance(source, PostgresSnapshot)
    columns = _columns(domain, source)
    return ALL_ROWS.format(
        document=_document(columns),
        columns=", ".join(_computed(source, column) for column in columns),
        table=_quoted(source.table),
        key=_quoted(source.key),
    )


def rows_query(domain: Domain, names: Sequence[str], *, dated: bool) -> str:
    """Return the query that an audit compares by: contract fields of the live rows, as text whatever they hold.

    Args:
        dated: Only the rows of one date, from `%(start)s` to before `%(end)s`.
    """
    source = domain.source
    assert isinstance(source, PolledTable)

    def computed(name: str) -> str:
        return source.columns.get(name, _quoted(name)).replace("%", "%%")

    listed = ", ".join(f"({computed(name)})::text" for name in names)
    at = computed(domain.bronze.timestamp_col)
    condition = f" WHERE {at} >= %(start)s AND {at} < %(end)s" if dated else ""
    return f"SELECT {listed} FROM {_quoted(source.table)}{condition}"


def _columns(domain: Domain, source: PostgresTable) -> list[Column]:
    """Return the contract's columns but the one that the producer stamps."""
    stamp = source.stamp if isinstance(source, PostgresIncrement | PostgresSnapshot) else None
    return [column for column in domain.contract.columns if column.name != stamp]


def _computed(source: PostgresTable, column: Column) -> str:
    name = _quoted(column.name)
    return f"{source.columns[column.name]} AS {name}" if column.name in source.columns else name


def _document(columns: list[Column]) -> str:
    return ", ".join(f"{_value(column)} AS {_quoted(column.name)}" for column in columns)


def _value(column: Column) -> str:
    name = f"r.{_quoted(column.name)}"
    if column.type is ColumnType.DECIMAL:
        return f"{name}::text"  # so that no float ever holds it
    if column.type is ColumnType.TIMESTAMP:
        return UTC_TIME.format(name=name)
    return name


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))
