"""A Spark Connect endpoint that outlives its jobs: Spark in a child JVM, or Sail in a child process.

Sessions, jobs and everything that imports pyspark at start belong to `spark_jobs`; the endpoint is also a
command, `python -m infra.embedded.services.spark_connect --engine spark --port 15002`. The protocol is described in
https://spark.apache.org/docs/latest/spark-connect-overview.html.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Literal, get_args

from infra.embedded.errors import ToolchainError
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import EmbeddedService
from infra.embedded.toolchain.toolchain import REPOSITORY, Toolchain

Engine = Literal["spark", "sail"]

_MEBIBYTE = 1024 * 1024
# RFC 9113, sections 3.4 and 6.5: what an HTTP/2 client says first, and the type of the frame that a server
# says first.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS_FRAME = 4
# What Spark's own launcher passes to a JVM since Java 17, without the incubator module that it can do
# without.
_OPENED_PACKAGES = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n%ex
"""


class SparkConnect(EmbeddedService):
    """One Spark Connect server.

    Args:
        root: Folder of the service.
        toolchain: Where Java and Delta's jars come from; Sail needs neither.
        durable: No effect, a server keeps nothing: tables are in the lake.
        engine: `spark`, or `sail`, which starts in a second and needs no JVM.
        cores: Tasks that Spark runs at the same time.
        driver_memory: Heap of Spark's JVM, in the JVM's notation.
        port: Port to listen on; 0 for any free one.
    """

    name = "spark"

    def __init__(
        self,
        root: Path,
        *,
        toolchain: Toolchain | None = None,
        durable: bool = False,
        engine: Engine = "spark",
        cores: int = 2,
        driver_memory: str = "3g",
        port: int = 0,
    ) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self.engine: Engine = engine
        self._cores = cores
        self._driver_memory = driver_memory
        self._wanted_port = port

    def prepare(self) -> None:
        """Find Java and fetch Delta's jars, for the engine that needs them."""
        if self.engine == "spark":
            _ = self.toolchain.jdk, self.toolchain.delta_jars

    def launch(self) -> None:
        """Start the server and wait until it answers."""
        self.port = self._wanted_port or self._own_ports(1)[0]
        process = self._run(
            self._spark_command() if self.engine == "spark" else self._sail_command(),
            env={
                "PYTHONPATH": str(REPOSITORY),
                "SPARK_HOME": str(_pyspark_home()),
                "SPARK_LOCAL_IP": LOOPBACK,
                # Sail takes its session time zone from here; Spark has a property for it below.
                "TZ": "UTC",
                # Python functions run under the interpreter, and so with the libraries, of the caller.
                "PYSPARK_PYTHON": sys.executable,
                "JAVA_HOME": str(self.toolchain.jdk.home) if self.engine == "spark" else "",
            },
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the endpoint's URL and the engine behind it."""
        return {"SPARK_REMOTE": f"sc://{LOOPBACK}:{self.port}", "SPARK_ENGINE": self.engine}

    def _spark_command(self) -> list[str | Path]:
        logging_file = self.root / "log4j2.properties"
        logging_file.write_text(_LOGGING)
        classpath = [*self.toolchain.delta_jars, *sorted((_pyspark_home() / "jars").glob("*.jar"))]
        return [
            self.toolchain.jdk.java,
            f"-Xmx{self._driver_memory}",
            # The best throughput of the collectors on two cores; C2 stays on, it halves the time of a day's
            # job.
            "-XX:+UseParallelGC",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED_PACKAGES),
            "-Dio.netty.tryReflectionSetAccessible=true",
            "-Djava.net.preferIPv6Addresses=false",
            f"-Djava.io.tmpdir={self._folder('tmp')}",
            f"-Dlog4j2.configurationFile={logging_file}",
            *(f"-D{name}={value}" for name, value in self._spark_properties().items()),
            "-cp",
            os.pathsep.join(map(str, classpath)),
            "org.apache.spark.sql.connect.service.SparkConnectServer",
        ]

    def _spark_properties(self) -> dict[str, str | int]:
        return {
            "spark.master": f"local[{self._cores}]",
            "spark.app.name": "pdp",
            "spark.connect.grpc.binding.address": LOOPBACK,
            "spark.connect.grpc.binding.port": self.port,
            "spark.driver.host": LOOPBACK,
            "spark.driver.bindAddress": LOOPBACK,
            "spark.local.dir": str(self._folder("tmp")),
            "spark.sql.warehouse.dir": str(self._folder("spark-warehouse")),
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

    def _sail_command(self) -> list[str | Path]:
        return [sys.executable, "-m", "infra.embedded.services.sail_server", f"--port={self.port}"]

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder

    def _answers(self) -> bool:
        """Greet the server in HTTP/2, which both engines speak only once their session exists.

        A gRPC client would do the same, but its threads must not be in a process that still forks.
        """
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            connection.sendall(_HTTP2_PREFACE + _HTTP2_EMPTY_SETTINGS)
            answer = connection.recv(9)
            return len(answer) >= 4 and answer[3] == _HTTP2_SETTINGS_FRAME


def _pyspark_home() -> Path:
    # Found without importing it: the import takes a second and pulls in gRPC.
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise ToolchainError("The package `pyspark` is not installed; run `make setup`.")
    return Path(found.origin).parent


def main() -> None:
    """Run one endpoint in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A Spark Connect endpoint on 127.0.0.1.")
    parser.add_argument("--engine", choices=get_args(Engine), default="spark")
    parser.add_argument("--port", type=int, default=15002)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--driver-memory", default="3g")
    parser.add_argument("--root", type=Path, default=REPOSITORY / ".platform" / "spark")
    arguments = parser.parse_args()
    done = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: done.set())
    service = SparkConnect(
        arguments.root,
        engine=arguments.engine,
        cores=arguments.cores,
        driver_memory=arguments.driver_memory,
        port=arguments.port,
    )
    with service:
        service.toolchain.reporter.service(service.engine, service.port, service.start_seconds)
        while not done.wait(1.0) and service.pid is not None:
            pass


if __name__ == "__main__":
    main()
