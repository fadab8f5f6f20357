"""Spark's history server: the UI of applications that ended, or whose driver was killed, from their event logs.

Who writes event logs, and where, belongs to `properties`; the server is described in
https://spark.apache.org/docs/latest/monitoring.html.
"""

from __future__ import annotations

from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import http_status
from infra.embedded.services.spark.daemon import SparkDaemon
from infra.embedded.services.spark.properties import history_properties
from infra.embedded.toolchain.toolchain import Toolchain

_HISTORY_SERVER = "org.apache.spark.deploy.history.HistoryServer"


class SparkHistory(SparkDaemon):
    """One history server.

    Args:
        root: Folder of the service.
        event_logs: Folder that it reads; older logs than a week are removed from it.
        toolchain: Where Java comes from.
        durable: No effect: the server keeps nothing.
    """

    name = "spark_history"
    heap = "512m"

    def __init__(
        self, root: Path, event_logs: Path, *, toolchain: Toolchain | None = None, durable: bool = False
    ) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._event_logs = event_logs

    @property
    def url(self) -> str:
        """The UI."""
        return f"http://{LOOPBACK}:{self.port}"

    def launch(self) -> None:
        """Start the server and wait until it answers."""
        [self.port] = self._own_ports(1)
        self._event_logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = self._begin(
            _HISTORY_SERVER,
            properties=history_properties(self._event_logs, self.port),
        )
        process.wait_ready(lambda: http_status(self.port, "/api/v1/version") == 200, self.start_timeout_seconds)
