"""Dagster's storage in Postgres, by the driver that is installed.

Where the database is belongs to `by_variables`. A URL without a driver means psycopg 3 since SQLAlchemy 2.1, and
dagster-postgres comes with psycopg2: https://docs.sqlalchemy.org/en/21/dialects/postgresql.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

SCHEME, WITH_DRIVER = "postgresql://", "postgresql+psycopg2://"


class PostgresStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage for a URL as every other client takes it."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PostgresStorage:
        """Return the storage of a configuration, see `ConfigurableClass.from_config_value`."""
        return cls(config_value["postgres_url"].replace(SCHEME, WITH_DRIVER, 1), inst_data=inst_data)
