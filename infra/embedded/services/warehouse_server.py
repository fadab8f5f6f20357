"""A stand-in for Snowflake: its wire protocol, its SQL translated to DuckDB, one DuckDB file a database.

It does not check VARCHAR lengths, roles and grants, cost, or lock waits (DuckDB raises a conflict at once),
sums a NUMBER as a float unless it is cast, and forgets stages and comments at a restart. What it adds to
fakesnow (https://github.com/tekumara/fakesnow) is in `warehouse_strict`; this module holds logins, sessions
and the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hmac
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import fakesnow.server as wire
import uvicorn
from fakesnow.instance import FakeSnow
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from infra.embedded.services.warehouse import PASSWORD_VARIABLE, USER_VARIABLE
from infra.embedded.services.warehouse_strict import IGNORED_STATEMENTS, in_transaction, install, self_test

logger = logging.getLogger(__name__)

_QUERY_PATH, _LOGIN_PATH = "/queries/v1/query-request", "/session/v1/login-request"
_SESSION_LIFETIME_SECONDS = 4 * 3600


class Sessions:
    """Watches idle sessions: a client that died between BEGIN and COMMIT would block its table for ever.

    Args:
        idle_seconds: An open transaction that is not used for this long is rolled back, its session ended.
    """

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._last_used: dict[str, float] = {}
        self._running: defaultdict[str, int] = defaultdict(int)
        self._ended: set[str] = set()

    @contextlib.contextmanager
    def use(self, token: str) -> Iterator[bool]:
        """Mark the session as busy while the block runs; yields whether the session was ended for idling."""
        with self._lock:
            self._running[token] += 1
            ended = token in self._ended
        try:
            yield ended
        finally:
            with self._lock:
                self._running[token] -= 1
                self._last_used[token] = time.monotonic()

    def reap(self) -> None:
        """Roll back and end what idles. Statements that run, however long, are not idle."""
        now = time.monotonic()
        with self._lock:
            for token, connection in list(wire.sessions.items()):
                idle = now - self._last_used.setdefault(token, now)
                limit = self._idle_seconds if in_transaction(connection) else _SESSION_LIFETIME_SECONDS
                if self._running[token] or idle <= limit:
                    continue
                logger.warning("session_ended reason=idle seconds=%.0f", idle)
                with contextlib.suppress(Exception):
                    connection._duck_conn.execute("ROLLBACK")
                wire.sessions.pop(token, None)
                # The client may only be slow: going on without its first half would commit half a load.
                self._ended.add(token)
            for token in self._last_used.keys() - wire.sessions.keys():
                del self._last_used[token]
                self._running.pop(token, None)

    def reap_for_ever(self) -> None:
        """Run `reap` at intervals; the body of a daemon thread."""
        while True:
            time.sleep(min(5.0, self._idle_seconds / 2))
            self.reap()


def build_app(sessions: Sessions, user: str, password: str) -> Starlette:
    """Return fakesnow's HTTP application with a password check and without HTTP 500."""
    # One statement at a time: two sessions that create the same schema at once would meet a constraint error in
    # DuckDB, where Snowflake lets the second one wait and see that it exists.
    one_statement = asyncio.Lock()

    async def login(request: Request) -> Response:
        body = await request.body()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = json.loads(body)["data"]
        right_user = hmac.compare_digest(str(given.get("LOGIN_NAME", "")).upper().encode(), user.upper().encode())
        right_password = hmac.compare_digest(str(given.get("PASSWORD", "")).encode(), password.encode())
        if not (right_user and right_password):
            return _failure("390100", "Incorrect username or password was specified.", "08001")
        return await wire.login_request(request)

    async def query(request: Request) -> Response:
        token = request.headers.get("Authorization", "")[17:-1]
        with sessions.use(token) as ended:
            if ended:
                return _failure("000625", "The transaction idled too long and was rolled back; connect again.", "57014")
            try:
                async with one_statement:
                    response = await wire.query_request(request)
            except Exception as error:
                logger.exception("query_failed")
                return _failure("002140", f"{type(error).__name__}: {error}", "0A000")
        if response.status_code >= 500:
            return _failure("002140", str(json.loads(bytes(response.body)).get("message")), "0A000")
        return response

    own: dict[str, Callable[[Request], Awaitable[Response]]] = {_LOGIN_PATH: login, _QUERY_PATH: query}
    routes: list[BaseRoute] = [Route(path, endpoint, methods=["POST"]) for path, endpoint in own.items()]
    routes += [route for route in wire.routes if route.path not in own]
    return Starlette(routes=routes)


def _failure(code: str, message: str, sql_state: str) -> JSONResponse:
    data = {"errorCode": code, "sqlState": sql_state}
    return JSONResponse({"data": data, "code": code, "message": message, "success": False})


def main() -> None:
    """Serve until SIGTERM; user and password come from the environment."""
    parser = argparse.ArgumentParser(description="Embedded stand-in for Snowflake.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; the default is this machine alone")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the DuckDB files")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="age of an idle transaction that is ended")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    # Statements can carry data; fakesnow logs them at INFO.
    logging.getLogger("fakesnow.server").setLevel(logging.WARNING)
    # Each TRANSIENT table and each result would log a line that nobody can act on.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")

    install()
    scratch = Path(tempfile.mkdtemp(prefix="selftest-"))
    try:
        self_test(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

    arguments.data.mkdir(parents=True, exist_ok=True)
    wire.shared_fs = FakeSnow(db_path=arguments.data, nop_regexes=IGNORED_STATEMENTS)
    sessions = Sessions(arguments.idle_seconds)
    threading.Thread(target=sessions.reap_for_ever, name="reaper", daemon=True).start()
    app = build_app(sessions, os.environ[USER_VARIABLE], os.environ[PASSWORD_VARIABLE])
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", timeout_graceful_shutdown=2)
    # Closing writes DuckDB's log into its file, so that the next start has nothing to replay.
    wire.shared_fs.duck_conn.close()


if __name__ == "__main__":
    main()
