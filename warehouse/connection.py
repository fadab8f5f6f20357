"""The one way to log in to the warehouse.

The embedded stand-in and the real thing differ only in host, port and protocol, which come from the settings. What is
done with a connection belongs to whoever opens it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from platform_core.settings import Settings
from warehouse.load import Connection, WarehouseUnavailableError


@contextmanager
def connect(settings: Settings, query_tag: str) -> Iterator[Connection]:
    """Open a connection; it is closed, and what it did not commit is rolled back, whatever happens.

    Args:
        settings: Address and login, `SNOWFLAKE_*`.
        query_tag: Shown in the warehouse's query history, for example the run's id.

    Raises:
        WarehouseUnavailableError: there is no login, no client, or the login failed; the cause carries no secret.
    """
    try:
        snowflake = connector()
    except ImportError as error:
        raise WarehouseUnavailableError(
            f"The warehouse cannot be asked from here: `{error.name}` is not installed. Install the extra `warehouse`."
        ) from error
    try:
        connection = snowflake.connect(**_arguments(settings, query_tag))
    except snowflake.Error as error:
        raise WarehouseUnavailableError(
            f"The warehouse `{settings.snowflake_account}` refused the login of `{settings.snowflake_user}`:"
            f" {error.msg}. Check SNOWFLAKE_* and that the warehouse is up; a partition is retried."
        ) from error
    try:
        yield cast("Connection", connection)
    finally:
        connection.close()


def connector() -> ModuleType:
    """Import the connector as it is where boto3 is not installed: 0.14 CPU seconds less of a run's.

    It has a use for boto3 only where AWS says who logs in, and asks once whether it can be imported; None in
    `sys.modules` is Python's own way to say that it cannot.

    Raises:
        ImportError: the connector is not installed.
    """
    is_loaded = "botocore" in sys.modules
    if not is_loaded:
        sys.modules["botocore"] = None  # type: ignore[assignment]
    try:
        return import_module("snowflake.connector")
    finally:
        if not is_loaded:
            del sys.modules["botocore"]


def _arguments(settings: Settings, query_tag: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "account": settings.snowflake_account,
        "user": settings.snowflake_user,
        "database": settings.snowflake_database,
        "warehouse": settings.snowflake_warehouse,
        "role": settings.snowflake_role,
        "login_timeout": 30,
        # Without it the connector repeats a request that the server answers with 500 for ever.
        "network_timeout": 120,
        # The connector otherwise asks the cloud's metadata addresses at each login: 0.45 s instead of 0.03 s.
        "platform_detection_timeout_seconds": 0,
        "session_parameters": {"QUERY_TAG": query_tag, "TIMEZONE": "UTC"},
    }
    if settings.snowflake_host:
        arguments |= {
            "host": settings.snowflake_host,
            "port": settings.snowflake_port,
            "protocol": settings.snowflake_protocol,
        }
    if settings.snowflake_private_key_path:
        arguments["private_key_file"] = str(settings.snowflake_private_key_path)
    elif settings.snowflake_password:
        arguments["password"] = settings.snowflake_password.get_secret_value()
    else:
        raise WarehouseUnavailableError(
            "There is no login for the warehouse: set `SNOWFLAKE_PASSWORD` or `SNOWFLAKE_PRIVATE_KEY_PATH`."
        )
    return arguments
