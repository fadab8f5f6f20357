"""The Spark session of a job: over Spark Connect, or classic under `spark-submit`.

Only how a session comes to be belongs here. What tunes an engine (memory, shuffle partitions, Delta's caches) is
the server's configuration, so that one setting of the deployment changes it for every job.
"""

from __future__ import annotations

import os

from pyspark.sql import SparkSession

# Days and hours are UTC in every layer, and both engines take the zone from the session.
_SESSION_CONFIGURATION = {"spark.sql.session.timeZone": "UTC"}

_DELTA_CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def connect(remote: str) -> SparkSession:
    """Open a new session of a Spark Connect endpoint, Spark's or Sail's.

    Args:
        remote: The endpoint, for example `sc://127.0.0.1:15002`.
    """
    # `getOrCreate` would hand a second caller the first one's session, with its temporary views and its fate.
    spark = SparkSession.builder.remote(remote).create()
    for key, value in _SESSION_CONFIGURATION.items():
        spark.conf.set(key, value)
    return spark


def under_spark_submit() -> bool:
    """Return whether `spark-submit` started this process; it is pyspark that leaves the port of its JVM here."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def classic(app_name: str) -> SparkSession:
    """Build the classic session of a `spark-submit` process, with Delta switched on.

    The Delta jars come from `--packages` or `--jars`; everything else from `--conf` and `spark-defaults.conf`.
    """
    # pyspark takes SPARK_REMOTE as an order to use Connect, but this process has a driver of its own.
    os.environ.pop("SPARK_REMOTE", None)
    builder = SparkSession.builder.appName(app_name)
    for key, value in (_DELTA_CONFIGURATION | _SESSION_CONFIGURATION).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
