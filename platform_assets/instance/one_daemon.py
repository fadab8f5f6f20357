"""The lock that one daemon of an instance holds: a second one waits, and takes over when the first one ends.

Two daemons would tick each sensor twice. On Postgres the lock belongs to a session of the server, which frees it when
the holder's process or host is gone: no clock of two hosts is compared. On SQLite it is a lock on a file. What a daemon
does belongs to Dagster, starting one to `platform_assets.daemon`.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

log = logging.getLogger(__name__)

LOCK_KEY = 7_034_212
"""Of `pg_try_advisory_lock`, in Dagster's own database."""

TRY_EVERY_SECONDS = 2.0
PING_EVERY_SECONDS = 5.0

CLIENT_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,
}
"""A holder that is cut off knows it after 15 s at most, and ends."""

SERVER_KEEPALIVE = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
"""The server frees the lock of a host that is gone after 30 s, later than its holder has ended."""


@contextmanager
def only_daemon(settings: Settings, home: Path, on_lost: Callable[[], object]) -> Iterator[None]:
    """Wait until no other daemon of the instance runs, then hold its lock.

    Args:
        settings: Which database the instance has.
        home: DAGSTER_HOME.
        on_lost: Called from another thread when the database does not know the holder any more.

    Raises:
        ConfigurationError: the database refuses the login.
        TransientError: the database does not answer.
    """
    if settings.dagster_postgres_url is None:
        with _locked_file(home / "daemon.lock"):
            yield
    else:
        with _locked_database(settings.dagster_postgres_url.get_secret_value(), on_lost):
            yield


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    def try_lock() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with path.open("a") as file:
        _wait(try_lock)
        yield


@contextmanager
def _locked_database(url: str, on_lost: Callable[[], object]) -> Iterator[None]:
    with closing(_connect(url)) as connection:
        _wait(lambda: bool(_ask(connection, f"SELECT pg_try_advisory_lock({LOCK_KEY})")))
        over = threading.Event()

        def ping() -> None:
            while not over.wait(PING_EVERY_SECONDS):
                try:
                    _ask(connection, "SELECT 1")
                except TransientError as error:
                    if not over.is_set():
                        log.error("daemon_lock_lost error=%s", error)
                        on_lost()
                    return

        thread = threading.Thread(target=ping, name="daemon-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _wait(try_lock: Callable[[], bool]) -> None:
    waits = False
    while not try_lock():
        if not waits:
            log.warning("Another daemon of this instance runs. This one waits, and takes over when that one ends.")
            waits = True
        time.sleep(TRY_EVERY_SECONDS)


def _connect(url: str) -> Connection:
    import psycopg2

    try:
        connection: Connection = psycopg2.connect(url, **CLIENT_KEEPALIVE)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SERVER_KEEPALIVE)
    except psycopg2.OperationalError as error:
        said = str(error).strip().splitlines()[0]
        if "authentication failed" in said or "does not exist" in said:
            raise ConfigurationError(f"Dagster's database refuses DAGSTER_POSTGRES_URL: {said}") from None
        raise TransientError(f"Dagster's database does not answer at DAGSTER_POSTGRES_URL: {said}") from None
    return connection


def _ask(connection: Connection, question: str) -> object:
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(question)
            row = cursor.fetchone()
    except psycopg2.Error as error:
        raise TransientError(f"Dagster's database has ended the session of the daemon's lock: {error}") from None
    return row[0] if row else None
