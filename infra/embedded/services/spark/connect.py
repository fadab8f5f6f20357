"""A Spark Connect endpoint that outlives its jobs: Spark in a child JVM, or Sail in a child process.

Sessions, jobs and everything that imports pyspark at start belong to `spark_jobs`; the endpoint is also a
command, `python -m infra.embedded.services.spark.connect --engine spark --port 15002`. The protocol is described in
https://spark.apache.org/docs/latest/spark-connect-overview.html.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from infra.embedded.errors import ServiceStartError
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.processes.service import EmbeddedService
from infra.embedded.services.spark.jvm import CONNECT_SERVER, Properties, SparkJvm, secrets_of
from infra.embedded.services.spark.properties import TOKEN, connect_properties
from infra.embedded.toolchain.toolchain import REPOSITORY, Toolchain
from platform_core.settings import SPARK_CONNECT_PORT

Engine = Literal["spark", "sail"]

DRIVER_MEMORY = "1g"
"""Heap of a server that does the work itself. A day of 860,000 events took 1.9 to 2.4 GB resident with 3g, for no less
CPU, and 1.4 to 1.6 with 1g; what does not fit is spilled to the disk."""

# RFC 9113, sections 3.4 and 6.5: what an HTTP/2 client says first, and the type of the frame that a server
# says first.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS_FRAME = 4

# Sail's allocator, mimalloc, keeps what it has had: 180 to 250 MB after a day of 200,000 events, where 70 are in use.
# To give it back costs a fifth of Sail's CPU for that day.
_FREE_AT_ONCE = {"MIMALLOC_PURGE_DELAY": "0"}


class SparkConnect(EmbeddedService):
    """One Spark Connect server.

    Args:
        root: Folder of the service.
        toolchain: Where Java and Delta's jars come from; Sail needs neither.
        durable: It stays for long, so Sail gives memory back when it is free; tables are in the lake, it keeps nothing.
        engine: `spark`, or `sail`, which starts in a second and needs no JVM.
        cores: Tasks that Spark runs at the same time.
        driver_memory: Heap of Spark's JVM, in the JVM's notation.
        port: Port to listen on; 0 for any free one.
        master: URL of the cluster whose executors do the work; the server's own JVM does it without.
        jars: Jars on Spark's class path besides Delta's, here and in the executors.
        properties: Properties of Spark that add to the others, or go before them; no other user sees them.
        environment: Variables of the server's process, which is how Sail is told the lake's bucket.
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
        driver_memory: str = DRIVER_MEMORY,
        port: int = 0,
        master: str | None = None,
        jars: Sequence[Path] = (),
        properties: Properties | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self.engine: Engine = engine
        self._driver_memory = driver_memory
        self._wanted_port = port
        self._master = master or f"local[{cores}]"
        self._jars = tuple(jars)
        self._properties = dict(properties or {})
        self._environment = dict(environment or {})

    def prepare(self) -> None:
        """Find Java and fetch Delta's jars, for the engine that needs them."""
        if self.engine == "spark":
            if mark := next((each for each in (",", os.pathsep) if each in str(self.root)), ""):
                raise ServiceStartError(
                    f"Spark takes `{mark}` in `{self.root}` for the end of a folder's name. Move the repository to a"
                    " folder without it, or take the engine Sail: `ENGINE=sail`."
                )
            _ = self.toolchain.jdk, self.toolchain.delta_jars

    def launch(self) -> None:
        """Start the server and wait until it answers."""
        self.port = self._wanted_port or self._own_ports(1)[0]
        process = self._spark() if self.engine == "spark" else self._sail()
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the endpoint's URL, its token if it asks for one, and the engine behind it."""
        token = {"SPARK_CONNECT_TOKEN": str(self._properties[TOKEN])} if TOKEN in self._properties else {}
        return {"SPARK_REMOTE": f"sc://{LOOPBACK}:{self.port}", "SPARK_ENGINE": self.engine, **token}

    def _spark(self) -> ManagedProcess:
        jvm = SparkJvm(self.toolchain.jdk.java, self.root, [*self.toolchain.delta_jars, *self._jars])
        properties = self._spark_properties()
        return self._run(
            jvm.submit(CONNECT_SERVER, properties, heap=self._driver_memory),
            env={"PYTHONPATH": str(REPOSITORY), **jvm.environment(), **self._environment},
            secrets=[*secrets_of(properties), *secrets_of(self._environment)],
        )

    def _spark_properties(self) -> dict[str, str | int]:
        jars = [*self.toolchain.delta_jars, *self._jars]
        return {
            "spark.master": self._master,
            "spark.executor.extraClassPath": os.pathsep.join(map(str, jars)),
            **connect_properties(port=self.port, scratch=self.root),
            **self._properties,
        }

    def _sail(self) -> ManagedProcess:
        return self._run(
            [sys.executable, "-m", "infra.embedded.services.spark.sail", f"--port={self.port}"],
            # Sail takes its session time zone from TZ; Spark has a property for it.
            env={
                "PYTHONPATH": str(REPOSITORY),
                "TZ": "UTC",
                **(_FREE_AT_ONCE if self.durable else {}),
                **self._environment,
            },
            secrets=secrets_of(self._environment),
        )

    def _answers(self) -> bool:
        """Greet the server in HTTP/2, which both engines speak only once their session exists.

        A gRPC client would do the same, but its threads must not be in a process that still forks.
        """
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            connection.sendall(_HTTP2_PREFACE + _HTTP2_EMPTY_SETTINGS)
            answer = connection.recv(9)
            return len(answer) >= 4 and answer[3] == _HTTP2_SETTINGS_FRAME


def main() -> None:
    """Run one endpoint in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A Spark Connect endpoint on 127.0.0.1.")
    parser.add_argument("--engine", choices=get_args(Engine), default="spark")
    parser.add_argument("--port", type=int, default=SPARK_CONNECT_PORT)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--driver-memory", default=DRIVER_MEMORY)
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
