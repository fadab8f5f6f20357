"""What every embedded service has in common: a folder, a port, a child process, and variables.

How a service is configured and probed belongs to its own module, and starting several together to `stack`.
"""

from __future__ import annotations

import http.client
import logging
import secrets
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from infra.embedded.errors import ServiceStartError, StackError
from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.toolchain.toolchain import Toolchain

logger = logging.getLogger(__name__)

_PORT_ATTEMPTS = 3
_ADDRESS_IN_USE = ("address already in use", "address in use", "failed to bind", "already bound")


class EmbeddedService(ABC):
    """One service on the loopback address, usable as a context manager.

    Args:
        root: Folder of the service: its data, its configuration and `<name>.log`.
        toolchain: Where its programs come from.
        durable: Keep the data of an earlier start and write safely; otherwise start empty and favour speed.
    """

    name: ClassVar[str]
    #: How long a start may take on a busy machine before it counts as hung.
    start_timeout_seconds: ClassVar[float] = 120.0

    def __init__(self, root: Path, *, toolchain: Toolchain | None = None, durable: bool = False) -> None:
        self.root = root
        self.toolchain = toolchain or Toolchain()
        self.durable = durable
        self.port = 0
        self.start_seconds = 0.0
        self._process: ManagedProcess | None = None
        self._ports: list[int] = []
        self._stopping = threading.Event()

    @abstractmethod
    def prepare(self) -> None:
        """Install what the service needs; may download, and may run long before `start`."""

    @abstractmethod
    def launch(self) -> None:
        """Choose ports, write configuration, start the process and wait until it answers."""

    @abstractmethod
    def env(self) -> dict[str, str]:
        """Return the environment variables by which the platform finds the running service."""

    @property
    def log(self) -> Path:
        """The file that the service logs to."""
        return self.root / f"{self.name}.log"

    @property
    def process(self) -> ManagedProcess | None:
        """The process that was started last; it may have ended."""
        return self._process

    @property
    def pid(self) -> int | None:
        """The process id while the service runs."""
        return self._process.pid if self._process and self._process.alive else None

    def dead_parts(self) -> dict[str, ManagedProcess]:
        """Return the parts that ended by themselves, by name: the service runs, and could run better."""
        return {}

    def restart_part(self, name: str) -> None:
        """Begin to start one of `dead_parts` again, and return at once."""
        raise KeyError(name)

    def start(self) -> None:
        """Start the service and return when it answers.

        Raises:
            ServiceStartError: it did not come up; the message has the end of its log.
        """
        self.prepare()
        started = time.monotonic()
        if not self.durable and self.root.exists():
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self.launch()
                break
            except ServiceStartError as error:
                self._end_process()
                lost_port = any(text in str(error).lower() for text in _ADDRESS_IN_USE)
                self._ports = []
                if not lost_port or attempt == _PORT_ATTEMPTS or self._stopping.is_set():
                    raise
            except BaseException:
                self._end_process()
                raise
        self.start_seconds = time.monotonic() - started
        logger.info("service_started name=%s port=%d seconds=%.1f", self.name, self.port, self.start_seconds)

    def crash(self) -> None:
        """Kill the process at once; its data stays as it is."""
        if self._process is not None:
            self._process.stop(grace_seconds=0)

    def restart(self) -> None:
        """Start again after a `crash`, with the same data, on the same ports.

        Raises:
            ServiceStartError: it did not come up.
        """
        self.launch()

    def stop(self) -> None:
        """End the service; a `start` that is under way fails. Safe to call twice."""
        self._stopping.set()
        self._end_process()

    def _end_process(self) -> None:
        if self._process is not None:
            # Data that the next start throws away needs no good-bye, and Kafka's takes a second.
            self._process.stop(grace_seconds=20 if self.durable else 0)

    def _own_ports(self, count: int) -> list[int]:
        """Return free ports, the same ones after a `crash`: clients know them."""
        if len(self._ports) != count:
            self._ports = free_ports(count)
        return self._ports

    def _run(self, argv: Sequence[str | Path], **options: object) -> ManagedProcess:
        """Start the service's process; see `ManagedProcess` for the options."""
        if self._stopping.is_set():
            raise StackError(f"`{self.name}` was stopped while it started.")
        options.setdefault("log", self.log)
        options.setdefault("cwd", self.root)
        self._process = ManagedProcess(self.name, argv, **options)  # type: ignore[arg-type]
        if self._stopping.is_set():
            self._process.stop(grace_seconds=0)
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def new_password() -> str:
    """Return a random password of letters and digits, which needs no quoting in URLs, JAAS or SQL."""
    return secrets.token_hex(24)


def http_status(
    port: int, path: str, *, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
) -> int:
    """Call a loopback HTTP server, never through a proxy, and return the status code."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        kind = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body, {**kind, **(headers or {})})
        return connection.getresponse().status
    finally:
        connection.close()
