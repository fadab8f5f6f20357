"""The properties of Spark that the platform's jobs need, whatever starts it: Delta, UTC, the size of a task.

Where an object store is and with which login belongs to `Lake`; how a JVM gets properties belongs to `spark_jvm`.
https://spark.apache.org/docs/latest/configuration.html has their meaning.
"""

from __future__ import annotations

from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK

_MEBIBYTE = 1024 * 1024


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
    }
