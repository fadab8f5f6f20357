"""A program of Spark that is no driver: a master, a worker, a history server.

How each of them starts is the same and belongs here; with which arguments, and when it is ready, to its own module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from infra.embedded.processes.process import ManagedProcess
from infra.embedded.processes.service import EmbeddedService
from infra.embedded.services.spark.jvm import Properties, SparkJvm


class SparkDaemon(EmbeddedService):
    """One such program, in a small JVM."""

    heap: ClassVar[str] = "256m"

    def prepare(self) -> None:
        """Find Java."""
        _ = self.toolchain.jdk

    def env(self) -> dict[str, str]:
        """Return nothing: the platform talks to the driver."""
        return {}

    def _begin(
        self,
        main_class: str,
        *arguments: str | Path | int,
        properties: Properties,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        jvm = SparkJvm(self.toolchain.jdk.java, self.root)
        return self._run(
            jvm.daemon(main_class, *arguments, properties=properties, heap=self.heap),
            env={**jvm.environment(), **(environment or {})},
        )
