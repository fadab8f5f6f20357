"""What the catalog shows of a table: column schemas, row counts, paths.

Everything is read from the contract or the table itself, so that the UI cannot say what is not there. Which
event carries it belongs to `events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake


def contract_schema(domain: Domain) -> dg.TableSchema:
    """Return the columns of a domain's messages, as its contract documents them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=f"decimal({column.precision},{column.scale})" if column.precision else column.type.value,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in domain.contract.columns
        ]
    )


def table_metadata(lake: Lake, name: str, rows: int, described: Mapping[str, str]) -> dict[str, Any]:
    """Return the catalog metadata of one date of a Delta table.

    Args:
        name: The table's lake-relative path.
        rows: Rows of the date.
        described: What its columns mean.
    """
    table = lake.delta(name)
    columns = [
        dg.TableColumn(name=field.name, type=_plain(field.type), description=described.get(field.name))
        for field in table.schema().fields
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/partition_row_count": rows,
        # Once more by a plain name: the UI plots it over the dates.
        "rows": rows,
        "dagster/uri": lake.uri(name),
        "delta_version": table.version(),
    }


def shown(value: Any) -> dg.MetadataValue[Any]:
    """Return a fact as the UI shows it best: a number, to be plotted; a table of what has parts; else text."""
    if isinstance(value, bool) or value is None:
        return dg.MetadataValue.text({True: "yes", False: "no", None: "none"}[value])
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float | Decimal):
        return dg.MetadataValue.float(float(value))
    if isinstance(value, Mapping) and value:
        return _table([{"name": name, **_parts(part)} for name, part in value.items()])
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        return _table([_parts(part) for part in value])
    if isinstance(value, list | tuple):
        return dg.MetadataValue.text(", ".join(str(part) for part in value) or "none")
    return dg.MetadataValue.text("none" if isinstance(value, Mapping) else str(value))


def _parts(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"value": value}


def _table(rows: list[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole = {name for name in names if all(isinstance(row.get(name), int) for row in rows)}
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: row[name] if name in whole else _text(row.get(name)) for name in names})
            for row in rows
        ],
        dg.TableSchema([dg.TableColumn(name, "int" if name in whole else "string") for name in names]),
    )


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value)


def _plain(kind: object) -> str:
    return str(getattr(kind, "type", kind)) if not hasattr(kind, "fields") else "struct"
