"""Rows and exact sums of one date of a Gold table, in Gold and in the warehouse: what must be equal after a load.

The load compares them inside its transaction, the audit at any time. Sums of floats are left out, because they would
differ in the last digit on one side only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def totals_of_gold(gold: pa.Table) -> Totals:
    """Return the totals of a date's Gold rows."""
    return Totals(
        gold.num_rows,
        {
            ddl.identifier(column.name): _exact(pc.sum(gold.column(column.name)).as_py())
            for column in gold.schema
            if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
        },
    )


def totals_of_warehouse(cursor: Any, table: str, measures: Iterable[str], where: str) -> Totals:
    """Return the totals of a table's rows.

    Args:
        cursor: An open cursor; inside a transaction it sees what the transaction has written.
        table: The fully qualified name.
        measures: The columns to sum.
        where: The condition that selects the date.
    """
    names = list(measures)
    listed = ", ".join(["COUNT(*)", *(f"SUM({name})" for name in names)])
    rows, *sums = cursor.execute(f"SELECT {listed} FROM {table} WHERE {where}").fetchone()
    return Totals(int(rows), {name: _exact(value) for name, value in zip(names, sums, strict=True)})


def _exact(value: Any) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))
