"""The shop's tables: `schema.sql` beside this file, and nowhere else.

Creating what is missing belongs here; filling the tables belongs to `simulation.shop.seed`.
"""

from __future__ import annotations

from pathlib import Path

from psycopg2.extensions import connection as Connection

SCHEMA_FILE = Path(__file__).with_name("schema.sql")


def create_schema(connection: Connection) -> None:
    """Create what is missing of the shop's tables, indexes and triggers."""
    with connection.cursor() as cursor:
        cursor.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
