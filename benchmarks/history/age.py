"""Delta tables with years of dates behind them, made in seconds: each date is a link to one real file.

The commits are written by hand, one a date, as runs would have made them, and every hundredth is a checkpoint. What
the tables hold on the day that is measured belongs to the jobs.
"""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

FIRST_DATE = date(2024, 1, 1)
_CHECKPOINT_COMMITS = 100


def age(table: Path, partition_column: str, dates: int, first: date = FIRST_DATE) -> None:
    """Give a table so many more dates, the same rows in each.

    Args:
        table: A local Delta table with at least one file.
        partition_column: The date.
        dates: How many.
        first: The first of them.
    """
    added = _last_added(table)
    source = table / added["path"].replace("%3D", "=")
    version = DeltaTable(table).version()
    for number in range(dates):
        day = (first + timedelta(days=number)).isoformat()
        name = f"{partition_column}={day}/part-{number}.parquet"
        (table / name).parent.mkdir()
        os.link(source, table / name)
        add = {**added, "path": name, "partitionValues": {partition_column: day}, "dataChange": True}
        add.pop("deletionVector", None)
        version += 1
        lines: list[dict[str, Any]] = [
            {"commitInfo": {"timestamp": 1_700_000_000_000 + number, "operation": "WRITE", "operationParameters": {}}},
            {"add": add},
        ]
        log = table / "_delta_log" / f"{version:020}.json"
        log.write_text("\n".join(map(json.dumps, lines)) + "\n")
        if version % _CHECKPOINT_COMMITS == 0:
            DeltaTable(table).create_checkpoint()


def _last_added(table: Path) -> dict[str, Any]:
    for log in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        for line in log.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                added: dict[str, Any] = action["add"]
                return added
    raise ValueError(f"`{table}` has no file")
