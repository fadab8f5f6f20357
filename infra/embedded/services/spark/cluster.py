"""Spark on a cluster of this machine: a master, workers, and a Connect server as the driver of their executors.

The programs are Spark's own, https://spark.apache.org/docs/latest/spark-standalone.html, from the package `pyspark`.
What a job does belongs to `spark_jobs`, what a driver needs to `connect` and `properties`.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from infra.embedded.errors import ServiceStartError, StackError
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.spark.daemon import SparkDaemon
from infra.embedded.services.spark.jvm import Properties
from infra.embedded.services.spark.properties import WORKER_PROPERTIES, executor_properties, master_properties
from infra.embedded.toolchain.toolchain import Toolchain

logger = logging.getLogger(__name__)

_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SparkMaster(SparkDaemon):
    """The master of a cluster: knows workers and applications, also after a restart.

    Args:
        root: Folder of the service, with what it knows.
        toolchain: Where Java comes from.
        durable: No effect: a new start is a new cluster.
    """

    name = "spark_master"

    @property
    def url(self) -> str:
        """What workers and drivers connect to."""
        return f"spark://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start without the applications of an earlier start; `restart` keeps them."""
        shutil.rmtree(self.root / "recovery", ignore_errors=True)
        super().start()

    def launch(self) -> None:
        """Start the master and wait until it answers."""
        self.port, self._ui_port = self._own_ports(2)
        process = self._begin(
            _MASTER,
            *("--host", LOOPBACK, "--port", self.port, "--webui-port", self._ui_port),
            properties=master_properties(self.root / "recovery"),
        )
        process.wait_ready(lambda: self.state()["status"] == "ALIVE", self.start_timeout_seconds)

    def state(self) -> dict[str, Any]:
        """Return what the master says of its workers and applications."""
        with _NO_PROXY.open(f"http://{LOOPBACK}:{self._ui_port}/json/", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def alive_workers(self) -> set[int]:
        """Return the ports of the workers that the master counts on."""
        return {worker["port"] for worker in self.state()["workers"] if worker["state"] == "ALIVE"}


class SparkWorker(SparkDaemon):
    """One worker, which starts executors; their output is in `work/<application>/<executor>/stderr`.

    Args:
        root: Folder of the service.
        master: The running master that it joins.
        toolchain: Where Java comes from.
        cores: Tasks that its executors run at the same time.
        memory: Heap that its executors have together, in the JVM's notation.
        environment: Variables of its executors.
    """

    name = "spark_worker"

    def __init__(
        self,
        root: Path,
        master: SparkMaster,
        *,
        toolchain: Toolchain | None = None,
        cores: int = 1,
        memory: str = "1g",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(root, toolchain=toolchain)
        self._master = master
        self._cores = cores
        self._memory = memory
        self._environment = dict(environment or {})

    def launch(self) -> None:
        """Start the worker and wait until the master counts on it."""
        self.port, ui_port = self._own_ports(2)
        process = self._begin(
            _WORKER,
            *("--host", LOOPBACK, "--port", self.port, "--webui-port", ui_port),
            *("--cores", self._cores, "--memory", self._memory, "--work-dir", self.root / "work", self._master.url),
            properties=WORKER_PROPERTIES,
            # A worker overrides spark.local.dir: shuffle files go where this says.
            environment={**self._environment, "SPARK_LOCAL_DIRS": str(self.root / "local")},
        )
        process.wait_ready(lambda: self.port in self._master.alive_workers(), self.start_timeout_seconds)


class SparkCluster(SparkConnect):
    """A Connect server whose work is done by the executors of a master's workers.

    `crash` and `restart` mean the driver; master and workers are services of their own. It counts as running while
    driver and master run: a lost worker is one of the `dead_parts` and makes it slower.

    Args:
        root: Folder of the service: the driver's files, `master`, and `worker-1` to `worker-N`.
        toolchain: Where Java and Delta's jars come from.
        durable: No effect, a cluster keeps nothing: tables are in the lake.
        workers: Number of workers, each with one executor.
        cores: Tasks that an executor runs at the same time.
        memory: What an executor may have resident, in the JVM's notation; a part of it is heap.
        driver_memory: Heap of the driver.
        port: Port of the Connect server; 0 for any free one.
        jars: Jars on Spark's class path besides Delta's, here and in the executors.
        properties: Properties of Spark that add to the others, or go before them; no other user sees them.
        environment: Variables of driver and executors.
    """

    # A driver that is restarted shares the cores with the executors that the dead one left.
    start_timeout_seconds = 240.0

    def __init__(
        self,
        root: Path,
        *,
        toolchain: Toolchain | None = None,
        durable: bool = False,
        workers: int = 2,
        cores: int = 1,
        memory: str = "1g",
        driver_memory: str = "1g",
        port: int = 0,
        jars: Sequence[Path] = (),
        properties: Properties | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        sized = executor_properties(cores=cores, memory=memory)
        super().__init__(
            root,
            toolchain=toolchain,
            durable=durable,
            driver_memory=driver_memory,
            port=port,
            jars=jars,
            properties={**sized, **(properties or {})},
            environment=environment,
        )
        self.master = SparkMaster(root / "master", toolchain=self.toolchain)
        self.workers = [
            SparkWorker(
                root / f"worker-{number}",
                self.master,
                toolchain=self.toolchain,
                cores=cores,
                memory=str(sized["spark.executor.memory"]),
                environment=environment,
            )
            for number in range(1, workers + 1)
        ]
        self._restarting: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The driver's process id while driver and master run."""
        return super().pid if self.master.pid is not None else None

    def launch(self) -> None:
        """Start what does not run of master and workers, then the driver; wait until it answers."""
        if self.master.pid is None:
            self.master.start()
        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(lambda worker: worker.start(), [each for each in self.workers if each.pid is None]))
        self._master = self.master.url
        super().launch()

    def dead_parts(self) -> dict[str, ManagedProcess]:
        """Return the workers that ended, `spark/worker-1`, and are not being started again."""
        dead = {f"{self.name}/{worker.root.name}": worker.process for worker in self.workers if worker.pid is None}
        return {name: process for name, process in dead.items() if process and name not in self._restarting}

    def restart_part(self, name: str) -> None:
        """Begin to start a worker again, see `dead_parts`: it takes a JVM's time to be ready."""
        [worker] = [each for each in self.workers if each.root.name == name.rpartition("/")[2]]
        self._restarting.add(name)

        def restart() -> None:
            try:
                worker.restart()
            except (ServiceStartError, StackError) as error:
                logger.warning("spark_worker_not_restarted error=%s", error)
            finally:
                self._restarting.discard(name)

        threading.Thread(target=restart, name=f"restart-{name}", daemon=True).start()

    def stop(self) -> None:
        """End the driver, then workers and master; a `start` that is under way fails."""
        super().stop()
        for service in (*self.workers, self.master):
            service.stop()
