"""The warehouse as a resource: a Snowflake connection through dagster-snowflake.

The embedded stand-in and the real thing differ only in host, port and protocol, which come from the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import dagster as dg

from platform_assets.warehouse.load import Connection, WarehouseUnavailableError
from platform_core.settings import settings


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens connections to the warehouse that the environment names."""

    @property
    def database(self) -> str:
        """The database of the Gold schemas."""
        return settings().snowflake_database

    @contextmanager
    def connect(self, query_tag: str) -> Iterator[Connection]:
        """Open a connection; it is rolled back and closed whatever happens.

        Args:
            query_tag: Shown in the warehouse's query history, for example the run's id.

        Raises:
            WarehouseUnavailableError: the login failed; the cause carries no secret.
        """
        from dagster_snowflake import SnowflakeResource
        from snowflake.connector.errors import Error as SnowflakeError

        s = settings()
        extra: dict[str, Any] = {
            "login_timeout": 30,
            # Without it the connector repeats a request that the server answers with 500 for ever.
            "network_timeout": 120,
            # The connector otherwise asks the cloud's metadata addresses at each login: 0.45 s instead of 0.03 s.
            "platform_detection_timeout_seconds": 0,
            "session_parameters": {"QUERY_TAG": query_tag, "TIMEZONE": "UTC"},
        }
        if s.snowflake_host:
            extra |= {"host": s.snowflake_host, "port": s.snowflake_port, "protocol": s.snowflake_protocol}
        secret: dict[str, Any] = {}
        if s.snowflake_private_key_path:
            secret["private_key_path"] = str(s.snowflake_private_key_path)
        elif s.snowflake_password:
            secret["password"] = s.snowflake_password.get_secret_value()
        resource = SnowflakeResource(
            account=s.snowflake_account,
            user=s.snowflake_user,
            database=s.snowflake_database,
            warehouse=s.snowflake_warehouse,
            role=s.snowflake_role,
            additional_snowflake_connection_args=extra,
            **secret,
        )
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(resource.get_connection())
            except SnowflakeError as error:
                raise WarehouseUnavailableError(
                    f"The warehouse `{s.snowflake_account}` refused the login of `{s.snowflake_user}`: {error.msg}."
                    " Check SNOWFLAKE_* and that the warehouse is up; the partition is retried."
                ) from error
            # The resource's own context manager does not close the connection after an exception.
            try:
                yield cast("Connection", connection)
            finally:
                connection.close()  # type: ignore[union-attr]
