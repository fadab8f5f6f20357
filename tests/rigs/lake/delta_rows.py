"""Rows of a Delta table, read by delta-rs and not by the engine that wrote them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake


def rows(lake: Lake, name: str, column: str | None = None, day: date | None = None) -> list[dict[str, Any]]:
    """Return a table's rows in an order that depends on their values only; JSON text is compared as JSON."""
    found = lake.delta(name).to_pyarrow_table().to_pylist()
    if column:
        found = [row for row in found if row[column] == day]
    for row in found:
        if "record" in row:
            row["record"] = json.loads(row["record"])
    return sorted(
        ({key: row[key] for key in sorted(row)} for row in found), key=lambda row: json.dumps(row, default=str)
    )


def tables_of(lake: Lake, domain: Domain) -> list[str]:
    """Return the tables that both jobs write."""
    return [lake.silver(domain), lake.quarantine(domain), *(lake.gold(domain, name) for name in domain.gold.tables)]


def types(lake: Lake, name: str) -> dict[str, str]:
    """Return the table's column types by name."""
    return {field.name: str(field.type) for field in lake.delta(name).schema().fields}


def version(lake: Lake, name: str) -> int:
    """Return the number of the table's last commit."""
    return int(lake.delta(name).version())
