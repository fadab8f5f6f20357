"""The Spark session of a job: over Spark Connect, or classic under `spark-submit`.

Only how a session comes to be, and what the size of a date changes in it, belongs here. What else tunes an engine
(memory, Delta's caches) is the server's configuration, so that one setting of the deployment changes it for every job.
"""

from __future__ import annotations

import math
import os
import re
import socket
from urllib.parse import urlsplit

from pydantic import SecretStr
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from platform_core.errors import ServiceDownError
from platform_core.settings import SPARK_CONNECT_PORT, settings

CONNECT_SECONDS = 5.0

# Days and hours are UTC in every layer, and both engines take the zone from the session.
# Spark's own default for a timestamp, INT96, is read as nanoseconds, which end in 2262 and begin in 1677.
_SESSION_CONFIGURATION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}

_DELTA_CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"

FEW_ROWS = 100_000
_FEW_ROWS_CONFIGURATION = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    SHUFFLE_PARTITIONS: "1",
}


# Spark's and Sail's words.
_ENDED = re.compile(r"INVALID_HANDLE\.SESSION_|session \S+ is not running")


def connect(remote: str, session_id: str | None = None, *, token: SecretStr | None = None) -> SparkSession:
    """Open a new session of a Spark Connect endpoint, Spark's or Sail's.

    Args:
        remote: The endpoint, for example `sc://127.0.0.1:15002`.
        session_id: A UUID for the session, so that `end` can find it when this process is gone; random by default.
        token: What the endpoint asks for, if it does.

    Raises:
        ServiceDownError: nothing listens there, or what does gives no session.
    """
    return _opened(remote, session_id, _SESSION_CONFIGURATION, token)


def close(spark: SparkSession) -> None:
    """End a session of `connect`; an engine that is gone has forgotten it already, and is not waited for."""
    from spark_jobs.engine.connect_channel import close_session

    close_session(spark)


def end(remote: str, session_id: str, *, token: SecretStr | None = None) -> None:
    """End what a session still runs, and the session: its process was killed, the engine works on for nobody.

    Without it a MERGE of a dead run would commit minutes later, in the middle of the run that took over. Nothing is
    done about a session that has ended, or that the engine never had.

    Args:
        remote: The endpoint.
        session_id: The UUID that the dead process gave to `connect`.
        token: What the endpoint asks for, if it does.

    Raises:
        ServiceDownError: the engine does not answer.
    """
    spark = _opened(remote, session_id, {}, token)
    try:
        spark.interruptAll()
    except PySparkException as error:
        if not _ENDED.search(str(error)):
            raise
    finally:
        close(spark)


def _opened(
    remote: str, session_id: str | None, configuration: dict[str, str], token: SecretStr | None
) -> SparkSession:
    # Not imported by a process of `spark-submit`, which needs no gRPC.
    from spark_jobs.engine.connect_channel import open_session

    _refuse_unreachable(remote)
    return open_session(_named(remote, session_id), configuration, token)


def _refuse_unreachable(remote: str) -> None:
    # A refused connection is known at once; gRPC would try it again for as long as it may.
    endpoint = urlsplit(remote)
    try:
        socket.create_connection(
            (endpoint.hostname or "", endpoint.port or SPARK_CONNECT_PORT), CONNECT_SECONDS
        ).close()
    except OSError as error:
        raise ServiceDownError(
            f"The engine does not answer at {endpoint.hostname}:{endpoint.port} (SPARK_REMOTE). Dates wait until it is"
            " back: start it, or look at its log."
        ) from error


def _named(remote: str, session_id: str | None) -> str:
    if session_id is None:
        return remote
    return f"{remote}{';' if '/;' in remote else '/;'}session_id={session_id}"


def suit(spark: SparkSession, rows: int, uncompressed_bytes: int) -> None:
    """Suit a session to the size of the date that comes next.

    Generating and compiling code for a query costs a second of CPU, whatever its rows. A date of few rows is faster
    without, in however many files they are: orders of a day took 4.8 CPU seconds from Silver to Gold instead of 8.4,
    and 20,000 events in 1,300 files 17 instead of 53. A date of many rows is shuffled in so many partitions that each
    fits the memory of a small executor, never in fewer than the server is configured for. Sail ignores these
    properties.

    Args:
        rows: Rows of the date's Bronze files.
        uncompressed_bytes: What the files' columns are without compression.
    """
    if rows <= FEW_ROWS:
        for key, value in _FEW_ROWS_CONFIGURATION.items():
            spark.conf.set(key, value)
        return
    for key in _FEW_ROWS_CONFIGURATION:
        spark.conf.unset(key)
    partitions = math.ceil(uncompressed_bytes / settings().spark_shuffle_partition_bytes)
    if partitions > int(spark.conf.get(SHUFFLE_PARTITIONS, "1") or 1):
        spark.conf.set(SHUFFLE_PARTITIONS, str(partitions))


def under_spark_submit() -> bool:
    """Return whether `spark-submit` started this process; it is pyspark that leaves the port of its JVM here."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def classic(app_name: str) -> SparkSession:
    """Build the classic session of a `spark-submit` process, with Delta switched on.

    The Delta jars come from `--packages` or `--jars`; everything else from `--conf` and `spark-defaults.conf`.
    `spark-submit` itself refuses to start where both a master and SPARK_REMOTE are set: unset the variable.
    """
    builder = SparkSession.builder.appName(app_name)
    for key, value in (_DELTA_CONFIGURATION | _SESSION_CONFIGURATION).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
