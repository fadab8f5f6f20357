"""What a person sees at the end of a demo: a table a domain, timings, three answers; and the same as JSON.

Only presentation lives here; the numbers come from the audit, the producers and the warehouse.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from audit.report import AuditReport, Equation, Reason, Stage
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


COUNTED = (
    (Stage.BRONZE, "kafka offsets"),
    (Stage.BRONZE, "bronze rows"),
    (Stage.SILVER, "bronze rows"),
    (Stage.WAREHOUSE, "gold rows"),
    (Stage.WAREHOUSE, "warehouse rows"),
)
"""Stage and whole of the equations that the table is made of."""


def domain_rows(audit: AuditReport, produced: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the table's row of each domain, from the audit's equations.

    Args:
        audit: An audit of every stage.
        produced: Records by domain that the producers had confirmed; that they are in Kafka is what no stage compares.
    """
    equations = {
        (result.domain, result.stage, equation.whole): equation
        for result in audit.summary()
        for equation in result.equations
    }
    rows = {}
    for domain in dict.fromkeys(result.domain for result in audit.results):
        kafka, bronze, silver, gold, warehouse = (
            equations.get((domain, stage, whole), Equation(whole, 0, {})) for stage, whole in COUNTED
        )
        confirmed = produced.get(domain, 0)
        unexplained = sum(problem.count for problem in audit.problems if problem.domain == domain)
        again = bronze.parts.get(Reason.DELIVERED_AGAIN, 0)
        rows[domain] = {
            "produced": confirmed,
            "kafka": kafka.count,
            "dead_letters": kafka.parts.get(Reason.DEAD_LETTER, 0),
            "bronze_rows": bronze.count,
            "bronze_offsets": bronze.count - again,
            "silver_rows": silver.parts.get("silver", 0),
            "duplicates": sum(silver.parts.get(r, 0) for r in (Reason.OLDER_VERSION, Reason.DELIVERED_AGAIN)),
            "quarantined": silver.parts.get(Reason.QUARANTINED, 0),
            "gold_rows": gold.count,
            "warehouse_rows": warehouse.count,
            "lost": unexplained + max(confirmed - kafka.count, 0),
        }
    return rows


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
    console.print(f"The lake is {report['lake']}, the report {root / 'report.json'}")
    console.print("PASSED" if report["passed"] else "FAILED")
