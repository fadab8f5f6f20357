"""What the catalog shows of a table: column schemas, column lineage, row counts, paths.

Everything is read from the contract, the plan or the table itself, so that the UI cannot say what is not there. Which
event carries it belongs to `events`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def table_metadata(lake: Lake, domain: Domain, name: str, rows: int) -> dict[str, Any]:
    """Return the catalog metadata of one date of a Delta table.

    Args:
        domain: The domain; its contract describes the columns that come from it.
        name: The table's lake-relative path.
        rows: Rows of the date.
    """
    table = lake.delta(name)
    described = domain.contract.by_name
    columns = [
        dg.TableColumn(
            name=field.name,
            type=_plain(field.type),
            description=described[field.name].description if field.name in described else None,
        )
        for field in table.schema().fields
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/partition_row_count": rows,
        "dagster/uri": lake.uri(name),
        "delta_version": table.version(),
    }


def lineage_metadata(columns: Mapping[str, Iterable[tuple[dg.AssetKey, str]]]) -> dict[str, Any]:
    """Return what a table's columns are made of, as the catalog shows it.

    Args:
        columns: For each column of the table, the columns of other assets that its value is made of; none for a
            constant or a count of rows.
    """
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                name: [dg.TableColumnDep(asset_key, column) for asset_key, column in sorted(made_of)]
                for name, made_of in columns.items()
            }
        )
    }


def _plain(kind: object) -> str:
    return str(getattr(kind, "type", kind)) if not hasattr(kind, "fields") else "struct"
