"""Starts the warehouse stand-in as a child process and says how a Snowflake client reaches it.

What the stand-in can and cannot do belongs to `warehouse_server`. The client is the ordinary Snowflake
connector (https://docs.snowflake.com/en/developer-guide/python-connector/python-connector-api).
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import EmbeddedService, http_status, new_password
from infra.embedded.toolchain.toolchain import REPOSITORY, Toolchain

_USER = "pdp"
# `warehouse_server` reads them; it imports these names, never the other way, because fakesnow costs 2 s.
USER_VARIABLE, PASSWORD_VARIABLE = "WAREHOUSE_USER", "WAREHOUSE_PASSWORD"


class WarehouseService(EmbeddedService):
    """The Snowflake stand-in; the password is new at every start.

    Args:
        root: Folder of the service.
        toolchain: Unused, the stand-in is a Python program.
        durable: Keep the databases of an earlier start.
        idle_transaction_seconds: Age at which a transaction that nobody uses is rolled back.
    """

    name = "warehouse"

    def __init__(
        self,
        root: Path,
        *,
        toolchain: Toolchain | None = None,
        durable: bool = False,
        idle_transaction_seconds: float = 60.0,
    ) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._idle_transaction_seconds = idle_transaction_seconds
        self._password = new_password()

    def prepare(self) -> None:
        """Nothing to install."""

    def launch(self) -> None:
        """Start the server, which tests itself first, and wait until it answers HTTP."""
        [self.port] = self._own_ports(1)
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        process = self._run(
            [
                sys.executable,
                "-m",
                "infra.embedded.services.warehouse_server",
                f"--port={self.port}",
                f"--data={self.root / 'data'}",
                f"--idle-seconds={self._idle_transaction_seconds}",
            ],
            env={
                "PYTHONPATH": str(REPOSITORY),
                # Files of internal stages are kept in the temporary folder.
                "TMPDIR": str(temporary),
                USER_VARIABLE: _USER,
                PASSWORD_VARIABLE: self._password,
            },
            secrets=[self._password],
        )
        # Any HTTP answer will do; a login would create a database.
        process.wait_ready(lambda: http_status(self.port, "/") == 404, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the Snowflake client's settings."""
        return {
            "SNOWFLAKE_ACCOUNT": "embedded",
            "SNOWFLAKE_USER": _USER,
            "SNOWFLAKE_PASSWORD": self._password,
            "SNOWFLAKE_HOST": LOOPBACK,
            "SNOWFLAKE_PORT": str(self.port),
            "SNOWFLAKE_PROTOCOL": "http",
            "SNOWFLAKE_DATABASE": "ANALYTICS",
            "SNOWFLAKE_WAREHOUSE": "PDP_WH",
        }
