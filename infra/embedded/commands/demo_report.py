"""What a person sees at the end of a demo: a table a domain, timings, three answers; and the same as JSON.

Only presentation lives here; the numbers come from `accounting` and the warehouse.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from simulation.demonstration import QUESTIONS
from warehouse.load import Connection

COLUMNS = (
    ("produced", "produced"),
    ("kafka", "in Kafka"),
    ("bronze_rows", "Bronze rows"),
    ("bronze_offsets", "offsets"),
    ("silver_rows", "Silver rows"),
    ("duplicates", "duplicates"),
    ("quarantined", "quarantined"),
    ("gold_rows", "Gold rows"),
    ("warehouse_rows", "warehouse"),
    ("lost", "lost"),
)


def answer_questions(connection: Connection, database: str) -> list[dict[str, Any]]:
    """Ask the warehouse what an analyst would ask; return question, SQL, column names and rows as text."""
    cursor = connection.cursor()
    answers = []
    for question, template in QUESTIONS:
        sql = template.format(db=database)
        rows = cursor.execute(sql).fetchall()
        columns = [entry[0] for entry in cursor.description]
        answers.append(
            {"question": question, "sql": sql, "columns": columns, "rows": [[str(v) for v in row] for row in rows]}
        )
    return answers


def write_report(root: Path, report: dict[str, Any]) -> None:
    """Write `report.json`, readable by its owner only: while the demo runs it has Postgres's address."""
    path = root / "report.json"
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2, default=str)
        file.write("\n")
    draft.replace(path)


def print_report(report: dict[str, Any], root: Path) -> None:
    """Print the report to standard output."""
    console = Console(highlight=False, width=max(Console().width, 140))
    table = Table(title=f"{report['days']} days × {report['events_per_day']:,} events, engine {report['engine']}")
    table.add_column("domain", no_wrap=True)
    for _, title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for name, entry in report["domains"].items():
        table.add_row(name, *(f"{entry[key]:,}" for key, _ in COLUMNS))
    console.print(table)

    late = report["late"]
    table = Table(title=f"Late records of {late['date']}, corrected in {late['seconds']} s")
    table.add_column("total of the date")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for key, before in late["before"].items():
        table.add_row(key.replace("_", " "), before, late["after"][key])
    console.print(table)

    for answer in report["questions"]:
        table = Table(title=answer["question"], title_justify="left")
        for column in answer["columns"]:
            table.add_column(column.lower(), justify="right")
        for row in answer["rows"]:
            table.add_row(*row)
        console.print(table)

    console.print("seconds: " + ", ".join(f"{name} {value}" for name, value in report["seconds"].items()))
    done = sum(1 for entry in report["partitions"] if entry["status"] == "DONE")
    lost = sum(entry["lost"] for entry in report["domains"].values())
    console.print(f"{done} of {len(report['partitions'])} partitions DONE, {lost} records lost")
    for line in report["orders_difference"]:
        console.print(f"Silver and Postgres differ: {line}")
    console.print(f"The lake is {report['lake']}, the report {root / 'report.json'}")
    console.print("PASSED" if report["passed"] else "FAILED")
