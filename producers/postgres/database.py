"""The connection to the source's Postgres.

How to connect, and what an interruption means, belongs here; queries belong to whoever asks them.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import connection as Connection

from platform_core.errors import ConfigurationError
from platform_core.settings import Settings
from producers.outage_alert import ANY_SERVICE, OutageError


class SourceRefusesError(ConfigurationError):
    """The source's database refuses what is asked of it: a login, a table, a column, an expression."""


class SourceDownError(OutageError):
    """The source's database does not answer, or refuses what it has answered before.

    Args:
        message: As of every `PlatformError`.
        refuses: Whether a person must mend something: a table, a right, a login.
    """

    def __init__(self, message: str, *, refuses: bool = False) -> None:
        patience = 0.0 if refuses else ANY_SERVICE.alert_after_seconds
        super().__init__(replace(ANY_SERVICE, where="the source's database", alert_after_seconds=patience), message)


def connect(settings: Settings, *, application: str) -> Connection:
    """Return an autocommit connection with UTC as its time zone.

    Args:
        application: Name that the server shows for this connection.

    Raises:
        SourceRefusesError: user, password or database is wrong.
        SourceDownError: the server does not answer.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    url = urlsplit(dsn)
    where = f"`{url.hostname}:{url.port or 5432}{url.path}` as user `{url.username}`"
    try:
        connection = psycopg2.connect(
            dsn,
            connect_timeout=10,
            application_name=application,
            options="-c timezone=UTC -c datestyle=ISO -c statement_timeout=300000",
        )
    except psycopg2.OperationalError as error:
        # The driver's text names host and user, and never the password.
        reason = str(error).strip().splitlines()[-1]
        if any(sign in reason for sign in ("password", "authentication", "does not exist", "pg_hba")):
            raise SourceRefusesError(
                f"Postgres at {where} refuses the connection: {reason}. Set `POSTGRES_DSN` as the server knows it.",
            ) from None
        raise SourceDownError(
            f"Postgres at {where} does not answer: {reason}. Check `POSTGRES_DSN` and that the server runs.",
        ) from None
    connection.autocommit = True
    return connection


def transient(error: psycopg2.OperationalError | psycopg2.InterfaceError, doing: str) -> SourceDownError:
    """Return the error that says what was interrupted by the database."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SourceDownError(f"Postgres ended the connection while {doing}: {reason}. It is tried again.")
