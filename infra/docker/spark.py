"""One program of Spark in its container: `python -m infra.docker.spark master|worker|connect|history`.

Addresses, ports and folders of docker-compose.yml belong here; the properties that the jobs need and a JVM's options to
`infra.embedded.services.spark`, the store's to the lake. The process becomes the JVM, so that a stop reaches it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from infra.embedded.services.spark.jvm import CONNECT_SERVER, SparkJvm, java_options
from infra.embedded.services.spark.properties import (
    TOKEN,
    WORKER_PROPERTIES,
    connect_properties,
    event_log_properties,
    executor_properties,
    history_properties,
    master_properties,
)
from platform_core.errors import ConfigurationError, PlatformError
from platform_core.lake.store_access import store_access
from platform_core.settings import SPARK_CONNECT_PORT, settings

FOLDER = Path("/var/lib/platform")
EVENTS = Path("/var/lib/spark-events")
MASTER_URL = "spark://spark-master:7077"
HISTORY_PORT = 18081
JARS = Path("/opt/spark/jars")
DAEMON_HEAP = "256m"

# A container's `cores` and `memory` are what its worker offers to one executor.
_CORES, _MEMORY = "SPARK_WORKER_CORES", "SPARK_WORKER_MEMORY"
_STORE_JARS = ("hadoop-aws-", "delta-log-store-")
_DEPLOY = "org.apache.spark.deploy"


def main() -> int:
    """Become the program that the command line names.

    Returns:
        Only when it cannot start, after one sentence: 78 (EX_CONFIG) when something must be mended, 75 (EX_TEMPFAIL)
        when the lake's store is out.
    """
    try:
        return _become()
    except PlatformError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, ConfigurationError) else os.EX_TEMPFAIL


def _become() -> NoReturn:
    role = sys.argv[1]
    address = os.environ["SPARK_LOCAL_IP"]
    jars = sorted(JARS.glob("*.jar"))
    jvm = SparkJvm(Path(os.environ["JAVA_HOME"]) / "bin" / "java", FOLDER, jars, local_ip=address)
    # What an earlier container left: shuffle files and executors' folders are of no use to this one.
    for name in ("tmp", "work"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    command = {"master": _master, "worker": _worker, "connect": _connect, "history": _history}[role](jvm)
    environment = {**os.environ, **jvm.environment(), "SPARK_LOCAL_DIRS": str(FOLDER / "tmp")}
    os.execve(command[0], [str(part) for part in command], environment)


def _master(jvm: SparkJvm) -> list[str | Path]:
    arguments = ("--host", "spark-master", "--port", 7077, "--webui-port", 8080)
    properties = master_properties(FOLDER / "recovery")
    return jvm.daemon(f"{_DEPLOY}.master.Master", *arguments, properties=properties, heap=DAEMON_HEAP)


def _worker(jvm: SparkJvm) -> list[str | Path]:
    sized = _executor()
    return jvm.daemon(
        f"{_DEPLOY}.worker.Worker",
        *("--host", jvm.local_ip, "--port", 7078, "--webui-port", 8081),
        *("--cores", sized["spark.executor.cores"], "--memory", sized["spark.executor.memory"]),
        *("--work-dir", FOLDER / "work", MASTER_URL),
        properties=WORKER_PROPERTIES,
        heap=DAEMON_HEAP,
    )


def _connect(jvm: SparkJvm) -> list[str | Path]:
    token, store, sized = settings().spark_connect_token, store_access(settings()), _executor()
    if token is None:
        raise ConfigurationError(
            "SPARK_CONNECT_TOKEN is empty: any container of the network could run code here. Run `make env`."
        )
    _refuse_missing_jars(jvm.jars)
    store.check(writes=True)
    properties: dict[str, str | int] = {
        TOKEN: token.get_secret_value(),
        **connect_properties(port=SPARK_CONNECT_PORT, scratch=FOLDER, host=jvm.local_ip, address=jvm.local_ip),
        **store.spark_properties(),
        **sized,
        "spark.master": MASTER_URL,
        "spark.executor.extraClassPath": "/opt/spark/jars/*",
        "spark.executor.extraJavaOptions": " ".join([str(sized["spark.executor.extraJavaOptions"]), *java_options()]),
        **event_log_properties(EVENTS),
    }
    return jvm.submit(CONNECT_SERVER, properties, heap=os.environ["SPARK_DRIVER_MEMORY"])


def _executor() -> dict[str, str | int]:
    return executor_properties(cores=int(os.environ[_CORES]), memory=os.environ[_MEMORY])


def _refuse_missing_jars(jars: Sequence[Path]) -> None:
    for name in _STORE_JARS:
        if not any(jar.name.startswith(name) for jar in jars):
            raise ConfigurationError(
                f"`{JARS}` has no `{name}*.jar`, without which Spark cannot use a bucket: build the image `spark`"
                " again."
            )


def _history(jvm: SparkJvm) -> list[str | Path]:
    properties = {**history_properties(EVENTS, HISTORY_PORT), "spark.history.fs.update.interval": "60s"}
    return jvm.daemon(f"{_DEPLOY}.history.HistoryServer", properties=properties, heap=DAEMON_HEAP)


if __name__ == "__main__":
    sys.exit(main())
