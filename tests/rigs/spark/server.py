"""Spark behind Spark Connect with a status that a test can ask for.

What a job does belongs to its test; what every server has belongs to `infra.embedded.services.spark.connect`.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.services.spark.connect import SparkConnect

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SparkServer(SparkConnect):
    """A server of Spark, or of Sail, for one session of tests."""

    _ui_port = 0

    def running_jobs(self) -> list[str]:
        """Return what Spark itself calls running now, by job number and name.

        https://spark.apache.org/docs/latest/monitoring.html#rest-api
        """
        [application] = self._status("")
        return [f"{job['jobId']}: {job['name']}" for job in self._status(f"/{application['id']}/jobs?status=running")]

    def _status(self, path: str) -> Any:
        with _NO_PROXY.open(f"http://{LOOPBACK}:{self._ui_port}/api/v1/applications{path}", timeout=60) as answer:
            return json.load(answer)

    def _spark_properties(self) -> dict[str, str | int]:
        (self._ui_port,) = free_ports(1)
        return super()._spark_properties() | {
            "spark.ui.enabled": "true",
            "spark.ui.port": self._ui_port,
            "spark.port.maxRetries": 0,  # Spark would take the next free port, and the test would ask another server
        }
