"""All services of one platform under one folder: started, described by variables and ended together.

What each service is belongs to its own module, and what runs on top of them (Dagster, producers, sink) to
the command that owns the stack. The variables are those of `platform_core.settings`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TextIO

from infra.embedded.errors import StackError
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.processes.service import EmbeddedService, new_password
from infra.embedded.progress import Reporter
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.postgres import Postgres
from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.services.spark.cluster import SparkCluster
from infra.embedded.services.spark.connect import DRIVER_MEMORY, Engine, SparkConnect
from infra.embedded.services.spark.history import SparkHistory
from infra.embedded.services.spark.properties import TOKEN, event_log_properties
from infra.embedded.services.warehouse import WarehouseService
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import configured_catalog
from platform_core.lake.store_access import StoreAccess, store_access
from platform_core.settings import Settings

logger = logging.getLogger(__name__)

ALL_SERVICES = ("kafka", "schema_registry", "postgres", "warehouse", "spark")
OBJECT_STORE = "object_store"
"""The S3 server: started when it is asked for, and the lake is a bucket of it then."""
_HISTORY = "spark_history"
# Inside a wave nothing depends on anything: an engine is started with the address of the lake, and what writes ends
# before what is written to.
_START_WAVES = ((OBJECT_STORE,), (*ALL_SERVICES, _HISTORY))
_STOP_WAVES = (("spark", "warehouse", _HISTORY), ("schema_registry", "kafka", "postgres", OBJECT_STORE))
_LOCK, _STATE = "stack.lock", "stack.json"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stack:
    """The services of one platform, usable as a context manager.

    Two stacks run side by side when their folders differ: every port is a free one.

    Args:
        root: Folder of everything the stack keeps: one folder a service, `lake`, `state`, `stack.json`.
        services: Which services to start, of `ALL_SERVICES` and `OBJECT_STORE`.
        engine: What answers Spark Connect, `spark` or `sail`.
        durable: Keep the data of an earlier start; otherwise the folder is emptied first.
        toolchain: Where programs come from; one for all services.
        driver_memory: Heap of Spark's JVM, in the JVM's notation.
        cores: Tasks that Spark runs at the same time, without a cluster.
        config: Settings that say how large Spark's cluster is, where event logs go and which domains have users in
            Kafka; without, none of these, and one user of Kafka.
    """

    def __init__(
        self,
        root: Path,
        *,
        services: Sequence[str] = ALL_SERVICES,
        engine: Engine = "spark",
        durable: bool = False,
        toolchain: Toolchain | None = None,
        reporter: Reporter | None = None,
        driver_memory: str = DRIVER_MEMORY,
        cores: int = 2,
        config: Settings | None = None,
    ) -> None:
        known = (OBJECT_STORE, *ALL_SERVICES)
        if unknown := [name for name in services if name not in known]:
            raise StackError(f"Unknown service `{unknown[0]}`; the stack has {', '.join(known)}.")
        self.root = root.resolve()
        self.durable = durable
        self._reporter = reporter or Reporter()
        self._toolchain = toolchain or Toolchain(reporter=self._reporter)
        self._engine: Engine = engine
        self._driver_memory = driver_memory
        self._cores = cores
        self._names = tuple(name for name in known if name in services)
        self._config = config
        if self._event_logs and "spark" in self._names:
            self._names += (_HISTORY,)
        self._services: dict[str, EmbeddedService] = {}
        self._lock: TextIO | None = None
        self._old_handlers: dict[signal.Signals, object] = {}

    @property
    def services(self) -> dict[str, EmbeddedService]:
        """The services by name, while the stack runs."""
        return dict(self._services)

    def start(self) -> None:
        """Install what is missing, start every service at the same time, return when all answer.

        Raises:
            StackError: the folder is in use by another stack, or is not a stack's folder.
            ServiceStartError: a service did not come up; the others are ended.
            ToolchainError: a program is missing.
        """
        started = time.monotonic()
        self._take_folder()
        try:
            with self._interruptible():
                for wave in _START_WAVES:
                    self._start_wave([name for name in self._names if name in wave])
            self._write_state()
        except BaseException:
            self.stop()
            raise
        self._reporter.line(f"Ready in {time.monotonic() - started:.1f} s; logs are in {self.root}")

    def stop(self) -> None:
        """End every service and give the folder free. Safe to call twice."""
        with _deferred_signals():
            for wave in _STOP_WAVES:
                threads = [
                    threading.Thread(target=self._services[name].stop, name=f"stop-{name}")
                    for name in wave
                    if name in self._services
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self._services = {}
            if self._lock is not None:
                (self.root / _STATE).unlink(missing_ok=True)
                self._lock.close()
                self._lock = None

    def env(self) -> dict[str, str]:
        """Return the environment variables of the platform's processes, passwords among them."""
        loopback = "127.0.0.1,localhost"
        proxies = {
            # gRPC and HTTP clients would send even loopback calls to the machine's proxy.
            name: f"{os.environ[name]},{loopback}" if os.environ.get(name) else loopback
            for name in ("NO_PROXY", "no_proxy")
        }
        variables = {"LAKE_URI": str(self.root / "lake"), "STATE_DIR": str(self.root / "state")}
        for service in self._services.values():
            variables |= service.env()
        return variables | proxies

    def kafka_logins(self) -> dict[str, str]:
        """Return the users of Kafka and their passwords, the admin among them."""
        service = self._services.get(Kafka.name)
        return service.logins() if isinstance(service, Kafka) else {}

    def alive(self) -> bool:
        """Tell whether every service's process still runs."""
        return bool(self._services) and all(service.pid is not None for service in self._services.values())

    def dead_parts(self) -> dict[str, ManagedProcess]:
        """Return the parts of running services that ended by themselves; `restart_part` starts one again."""
        return {name: process for service in self._services.values() for name, process in service.dead_parts().items()}

    def restart_part(self, name: str) -> None:
        """Begin to start one of `dead_parts` again."""
        self._services[name.partition("/")[0]].restart_part(name)

    def __enter__(self) -> Self:
        self._old_handlers = _raise_on_signals()
        try:
            self.start()
        except BaseException:
            _restore(self._old_handlers)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            _restore(self._old_handlers)

    def _build(self, name: str) -> EmbeddedService:
        folder = self.root / name
        if name == "spark":
            return self._build_spark(folder)
        if name == _HISTORY and self._event_logs:
            return SparkHistory(folder, self._event_logs, toolchain=self._toolchain, durable=self.durable)
        if name == Kafka.name:
            catalog = configured_catalog(self._config) if self._config else None
            return Kafka(folder, toolchain=self._toolchain, durable=self.durable, catalog=catalog)
        classes: dict[str, type[EmbeddedService]] = {
            "schema_registry": SchemaRegistry,
            "postgres": Postgres,
            OBJECT_STORE: ObjectStore,
            "warehouse": WarehouseService,
        }
        return classes[name](folder, toolchain=self._toolchain, durable=self.durable)

    def _build_spark(self, folder: Path) -> SparkConnect:
        access, variables = self._bucket()
        in_bucket = self._engine == "spark" and bool(variables)
        jars = self._toolchain.s3a_jars if in_bucket else []
        properties = event_log_properties(self._event_logs) if self._event_logs else {}
        if self._engine == "spark":  # Sail has no such option
            properties = {**properties, TOKEN: new_password()}
        if in_bucket:
            properties = {**properties, **access.spark_properties()}
        if self._engine == "spark" and self._config and self._config.spark_workers:
            return SparkCluster(
                folder,
                toolchain=self._toolchain,
                durable=self.durable,
                workers=self._config.spark_workers,
                cores=self._config.spark_worker_cores,
                memory=self._config.spark_worker_memory,
                driver_memory=self._driver_memory,
                jars=jars,
                properties=properties,
            )
        return SparkConnect(
            folder,
            toolchain=self._toolchain,
            durable=self.durable,
            engine=self._engine,
            cores=self._cores,
            driver_memory=self._driver_memory,
            jars=jars,
            properties=properties,
            environment=variables if self._engine == "sail" else {},
        )

    @property
    def _event_logs(self) -> Path | None:
        return self._config.spark_event_log_dir if self._config and self._engine == "spark" else None

    def _bucket(self) -> tuple[StoreAccess, dict[str, str]]:
        """Return the access to the lake's bucket and its variables; there are none for a folder."""
        store = self._services.get(OBJECT_STORE)
        variables = store.env() if store is not None else {}
        return store_access(Settings.of({"LAKE_URI": str(self.root / "lake"), **variables})), variables

    def _start_wave(self, names: Sequence[str]) -> None:
        if not names:
            return
        services = {name: self._build(name) for name in names}
        self._services |= services
        for service in services.values():
            service.prepare()
        self._reporter.line("Starting " + ", ".join(names))
        results: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()

        def start(service: EmbeddedService) -> None:
            try:
                service.start()
                results.put((service.name, None))
            except BaseException as error:
                results.put((service.name, error))

        # Daemon threads: after an interrupt nothing waits for them, their processes are ended by `stop`.
        for service in services.values():
            threading.Thread(target=start, args=(service,), name=f"start-{service.name}", daemon=True).start()
        for _ in services:
            name, error = results.get()
            if error is not None:
                raise error
            service = self._services[name]
            self._reporter.service(name, service.port, service.start_seconds)

    def _take_folder(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        lock_file = self.root / _LOCK
        strangers = [path for path in self.root.iterdir() if path.name != _LOCK]
        if not self.durable and strangers and not lock_file.exists():
            raise StackError(
                f"`{self.root}` is not empty and no stack made it, so it is not emptied; name another one.",
            )
        lock = lock_file.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(
                f"Another stack runs in `{self.root}`; stop it, or choose another folder.",
            ) from None
        self._lock = lock
        if not self.durable:
            for path in strangers:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        for name in ("lake", "state", "logs"):
            (self.root / name).mkdir(exist_ok=True)
            (self.root / name).chmod(0o700)  # one of an earlier version was open to everybody

    def _write_state(self) -> None:
        state = {
            "owner_pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "engine": self._engine,
            "durable": self.durable,
            "services": {
                name: {
                    "pid": service.pid,
                    "port": service.port,
                    "start_seconds": round(service.start_seconds, 1),
                }
                for name, service in self._services.items()
            },
        }
        draft = self.root / f"{_STATE}.new"
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.root / _STATE)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Make SIGTERM end a start that is not inside `with` too."""
        old = _raise_on_signals() if not self._old_handlers else {}
        try:
            yield
        finally:
            _restore(old)


def _raise_on_signals() -> dict[signal.Signals, object]:
    """Make SIGINT and SIGTERM raise in the main thread, so that `with` ends; return the old handlers."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    old: dict[signal.Signals, object] = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        # A handler that the owner installed already ends the owner in its own way.
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            old[number] = handler
            signal.signal(number, _raise)
    return old


def _raise(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _restore(handlers: dict[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    handlers.clear()


@contextlib.contextmanager
def _deferred_signals() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back while the block runs: a second Ctrl-C must not leave a service behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    old = {number: signal.signal(number, lambda n, _frame: arrived.append(n)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
