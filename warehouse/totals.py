"""Rows and exact sums of one date of a Gold table, in Gold and in the warehouse: what must be equal after a load.

The load compares them inside its transaction, the audit at any time. Sums of floats are left out, because they would
differ in the last digit on one side only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse import ddl


@dataclass(frozen=True)
class Totals:
    """What one side holds.

    Attributes:
        rows: The rows of the date.
        sums: The exact sum of each column of integers or decimals, by its name in the warehouse.
    """

    rows: int
    sums: Mapping[str, Decimal] = field(default_factory=dict)


def scales(gold: pa.Schema) -> dict[str, int]:
    """Return the columns with exact sums, by their name in the warehouse, and how many decimal places each has."""
    return {
        ddl.name(column.name): column.type.scale if pa.types.is_decimal(column.type) else 0
        for column in gold
        if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
    }


def totals_of_gold(gold: pa.Table) -> Totals:
    """Return the totals of a date's Gold rows."""
    columns = {ddl.name(name): gold.column(name) for name in gold.column_names}
    return Totals(gold.num_rows, {name: exact(pc.sum(columns[name]).as_py()) for name in scales(gold.schema)})


def totals_of_warehouse(cursor: Any, table: str, measures: Mapping[str, int], condition: str) -> Totals:
    """Return the totals of a table's rows.

    Args:
        cursor: An open cursor; inside a transaction it sees what the transaction has written.
        table: The fully qualified name.
        measures: The columns to sum, each with its digits after the point, as `scales` returns them.
        condition: Selects the date.
    """
    # The cast keeps a sum exact: the stand-in adds up a NUMBER(4,2) as a float, 394.08 becomes 394.08000000000015.
    sums_of = [f"SUM({ddl.identifier(name)}::NUMBER(38,{scale}))" for name, scale in measures.items()]
    rows, *sums = cursor.execute(
        f"SELECT {', '.join(['COUNT(*)', *sums_of])} FROM {table} WHERE {condition}"
    ).fetchone()
    return Totals(int(rows), {name: exact(value) for name, value in zip(measures, sums, strict=True)})


def exact(value: Any) -> Decimal:
    """Return a total as a decimal; that of no rows is 0."""
    return Decimal(0) if value is None else Decimal(str(value))
