"""The warehouse as a resource; logging in is `warehouse.connection`."""

from __future__ import annotations

from contextlib import AbstractContextManager

import dagster as dg

from platform_core.settings import settings
from warehouse.connection import connect
from warehouse.load import Connection


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens connections to the warehouse that the environment names."""

    def connect(self, query_tag: str) -> AbstractContextManager[Connection]:
        """Open a connection, as `warehouse.connection.connect` does."""
        return connect(settings(), query_tag)
