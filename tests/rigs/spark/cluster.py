"""A Spark cluster of two workers that a test asks what it runs, and takes parts of away in the middle of it.

What must come of a fault belongs to the test; what a cluster has belongs to `infra.embedded.services.spark.cluster`.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.services.spark.cluster import SparkCluster
from infra.embedded.services.spark.properties import event_log_properties
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.lake.store_access import StoreAccess

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SparkClusterRig(SparkCluster):
    """A cluster that reaches a bucket, whose driver has its UI switched on and writes event logs to `event_logs`."""

    def __init__(self, root: Path, toolchain: Toolchain, store: StoreAccess) -> None:
        (self._driver_ui,) = free_ports(1)
        self.event_logs = root.with_name("event-logs")
        super().__init__(
            root,
            toolchain=toolchain,
            jars=toolchain.s3a_jars,
            properties={
                **store.spark_properties(),
                **event_log_properties(self.event_logs),
                "spark.ui.enabled": "true",
                "spark.ui.port": self._driver_ui,
                "spark.port.maxRetries": 0,
            },
        )

    def tasks(self) -> int:
        """Return how many tasks the driver has on its executors now."""
        url = f"http://{LOOPBACK}:{self._driver_ui}/api/v1/applications"
        with _NO_PROXY.open(url, timeout=60) as answer:
            [application] = json.load(answer)
        with _NO_PROXY.open(f"{url}/{application['id']}/executors", timeout=60) as answer:
            return sum(executor["activeTasks"] for executor in json.load(answer))

    @contextmanager
    def struck_inside_a_job(self, fault: Callable[[], object]) -> Iterator[list[int]]:
        """Do something as soon as a task of the block runs; yield what gets the number of tasks that ran then."""
        struck: list[int] = []
        ended = threading.Event()

        def strike() -> None:
            while not ended.wait(0.02):
                try:
                    running = self.tasks()
                except OSError:
                    continue
                if running:
                    struck.append(running)
                    fault()
                    return

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        try:
            yield struck
        finally:
            ended.set()
            thread.join(180)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Start workers that end in the block again, as `make up` does."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.2):
                for name in self.dead_parts():
                    self.restart_part(name)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def wait_for_cores(self, count: int, seconds: float = 180) -> None:
        """Wait until the application has so many cores, all of them from executors that the master knows."""
        deadline = time.monotonic() + seconds
        while (state := self._cores()) != count:
            assert time.monotonic() < deadline, f"{state} cores instead of {count}: {self.master.state()}"
            time.sleep(0.2)

    def _cores(self) -> int:
        active: list[dict[str, Any]] = self.master.state()["activeapps"]
        return sum(application["cores"] for application in active)
