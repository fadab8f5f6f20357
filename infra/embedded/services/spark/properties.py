"""The properties of Spark that the platform needs, whatever starts it: Delta, UTC, the size of a task, what is kept.

Where an object store is and with which login belongs to `Lake`; how a JVM gets properties belongs to `jvm`.
https://spark.apache.org/docs/latest/configuration.html has their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from infra.embedded.errors import StackError
from infra.embedded.processes.ports import LOOPBACK

TOKEN = "spark.connect.authenticate.token"
"""What a Connect server asks its clients for: who may open a session may run any code as the server's user."""

_MEBIBYTE = 1024 * 1024
_UNITS = {"m": 1, "g": 1024}

_HEAP_SHARE = 0.6
"""Of what an executor may have resident; code, classes, threads and Netty's buffers have the rest."""


def connect_properties(
    *, port: int, scratch: Path, host: str = LOOPBACK, address: str = LOOPBACK
) -> dict[str, str | int]:
    """Return what every Connect server has, without its master.

    Args:
        port: Port that clients connect to.
        scratch: Folder of shuffle files and of the warehouse that nothing uses.
        host: Address that the server listens on.
        address: Name or address by which executors reach it.
    """
    return {
        "spark.app.name": "pdp",
        "spark.connect.grpc.binding.address": host,
        "spark.connect.grpc.binding.port": port,
        "spark.driver.host": address,
        "spark.driver.bindAddress": host,
        "spark.local.dir": str(scratch / "tmp"),
        "spark.sql.warehouse.dir": str(scratch / "spark-warehouse"),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        # A day is 1,440 small files on two cores: few tasks, each with many files, and no listing job.
        "spark.sql.shuffle.partitions": 4,
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
        "spark.sql.files.openCostInBytes": 64 * 1024,
        "spark.sql.files.maxPartitionBytes": 64 * _MEBIBYTE,
        "spark.sql.sources.parallelPartitionDiscovery.threshold": 100_000,
        "spark.databricks.delta.snapshotPartitions": 1,
        # A job writes one date, so a task has one file open and need not sort its rows by the date. To do so it kept
        # all of them: 0.3 GB of a day of 860,000 events.
        "spark.sql.maxConcurrentOutputFileWriters": 2,
        # Generated classes; a date takes 200, and Spark keeps 100.
        "spark.sql.codegen.cache.maxEntries": 1000,
    }


def executor_properties(*, cores: int, memory: str) -> dict[str, str | int]:
    """Return the size of an executor.

    Args:
        cores: Tasks that it runs at the same time.
        memory: What its process may have resident, in the JVM's notation: `1g`, `1536m`.
    """
    heap = int(mebibytes(memory) * _HEAP_SHARE)
    # Several collectors' threads on one core only take turns, and cost memory.
    collector = "UseSerialGC" if cores == 1 else "UseParallelGC"
    return {
        "spark.executor.cores": cores,
        "spark.executor.memory": f"{heap}m",
        "spark.executor.extraJavaOptions": f"-XX:+{collector} -XX:MaxDirectMemorySize={heap // 5}m",
        # What another executor sends in larger pieces goes to the disk first; an executor whose direct memory is
        # smaller than such a piece does not start.
        "spark.network.maxRemoteBlockSizeFetchToMem": f"{heap // 10}m",
    }


def event_log_properties(folder: Path) -> dict[str, str | int]:
    """Return what makes a driver write its event logs to a folder, which is made if it does not exist."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a driver does not start without
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.resolve().as_uri(),
        # A driver lives for months: its log is cut into files, and the history server keeps the newest.
        "spark.eventLog.rolling.enabled": "true",
        "spark.eventLog.rolling.maxFileSize": "32m",
    }


def history_properties(folder: Path, port: int) -> dict[str, str | int]:
    """Return what a history server has that reads the event logs of a folder, and removes those of a week ago."""
    return {
        "spark.history.fs.logDirectory": folder.resolve().as_uri(),
        "spark.history.ui.port": port,
        "spark.history.fs.cleaner.enabled": "true",
        "spark.history.fs.cleaner.maxAge": "7d",
        # Of the rolling log of a driver that lives for months.
        "spark.history.fs.eventLog.rolling.maxFilesToRetain": 8,
    }


def master_properties(recovery: Path) -> dict[str, str | int]:
    """Return what a master has that is started again with what it knew.

    Args:
        recovery: Folder of what it knows. Without it a master that comes back kills the executors that it does not
            know, and their driver waits for others for ever.
    """
    return {
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": str(recovery),
        # Without a login, and only a driver that the cluster itself runs would be sent there: here none is.
        "spark.master.rest.enabled": "false",
    }


WORKER_PROPERTIES: Mapping[str, str | int] = {
    "spark.worker.cleanup.enabled": "true",
    "spark.worker.cleanup.appDataTtl": 7 * 24 * 3600,
}
"""Output and jars of an application that ended a week ago are removed; else they stay for ever."""


def mebibytes(memory: str) -> int:
    """Return an amount of memory in the JVM's notation, `512m` or `2g`, in MiB.

    Raises:
        StackError: it is no such amount, or less than Spark starts with.
    """
    match = re.fullmatch(r"(\d+)([mg])", memory.lower())
    amount = int(match[1]) * _UNITS[match[2]] if match else 0
    if amount < 768:
        raise StackError(f"Memory of an executor: `{memory}` must be an amount as `1g` or `1536m`, at least `768m`.")
    return amount
