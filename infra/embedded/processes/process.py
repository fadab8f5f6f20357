"""One child process: its own session and log, gone when its parent is gone, waited for by a real call.

What a service needs to run (arguments, configuration, probes) belongs to the service's module.
`exec_shim` holds the part that runs inside the child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from infra.embedded.errors import ServiceStartError

logger = logging.getLogger(__name__)

_SHIM = Path(__file__).with_name("exec_shim.py")
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 25
# What a server legitimately needs from the caller's environment; everything else, and so every secret, stays
# out.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "JDK_JAVA_OPTIONS")

# docker-compose.yml gives the same file to its services.
_LINES = Path(__file__).with_name("thrifty.env").read_text(encoding="utf-8").splitlines()
_THRIFTY = dict(line.split("=", 1) for line in _LINES if not line.startswith("#"))


@dataclass(frozen=True)
class Credentials:
    """The user and group that a child process runs as."""

    uid: int
    gid: int


class _Spawner:
    """Start every child from one thread that lives as long as the process.

    The kernel sends the death signal when the *thread* that forked ends, not the process, so a child started
    from a short-lived worker thread would be killed when that worker returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._requests = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def spawn(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._requests = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._run, name="spawner", daemon=True)
                self._thread.start()
        result: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((start, result))
        return result.result()

    def _run(self) -> None:
        while True:
            start, result = self._requests.get()
            try:
                result.set_result(start())
            except BaseException as error:
                result.set_exception(error)


_spawner = _Spawner()


PRIVATE_UMASK = 0o077
"""What a child writes (the lake, Kafka's segments, snapshots of rows, logs) is its user's alone."""


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, readable by its owner only."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab")


class ManagedProcess:
    """A started child process.

    Args:
        name: What messages call it.
        argv: Program and arguments; visible to every user of the machine, so never a secret.
        log: File that receives standard output and standard error, appended.
        env: Variables added to the few that a child inherits; the place for secrets.
        credentials: Run as this user and group; only root can ask for it.
        stop_signal: The signal that asks this program to end in good order.
        secrets: Strings that never appear in an error, whatever the log says.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        credentials: Credentials | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        secrets: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        self._secrets = tuple(secrets)
        uid, gid = (str(credentials.uid), str(credentials.gid)) if credentials else ("-", "-")
        command = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), uid, gid, *map(str, argv)]
        environment = child_environment(env)

        def start() -> subprocess.Popen[bytes]:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open_log(log) as output:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=cwd,
                    start_new_session=True,
                    umask=PRIVATE_UMASK,
                )

        self._log_start = log.stat().st_size if log.exists() else 0
        self._process = _spawner.spawn(start)
        logger.debug("process_started name=%s pid=%d", name, self.pid)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def log_tail(self) -> str:
        """Return the last lines that this process logged, without its secrets."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
            tail = "\n".join(lines)
            for secret in self._secrets:
                tail = tail.replace(secret, "***")
            return tail
        return ""

    def wait_ready(self, probe: Callable[[], bool], timeout_seconds: float) -> None:
        """Return when `probe` answers true; call it again and again, its exceptions count as "not yet".

        Args:
            probe: One real call to the service; it limits its own duration.
            timeout_seconds: When to give up on a process that runs but does not answer.

        Raises:
            ServiceStartError: the process ended (told at once, with the tail of its log) or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        last: Exception | None = None
        while self.alive:
            try:
                if probe():
                    return
            except Exception as error:
                last = error
            if time.monotonic() > deadline:
                self.stop(grace_seconds=0)
                reason = f"did not answer within {timeout_seconds:.0f} s" + (f" (last: {last})" if last else "")
                break
            time.sleep(_POLL_SECONDS)
        else:
            reason = f"ended with exit code {self._process.returncode} before it answered"
        raise ServiceStartError(
            f"`{self.name}` {reason}. Its log `{self.log}` ends with:\n{self.log_tail()}",
        )

    def stop(self, grace_seconds: float = 10.0) -> None:
        """End the process and everything it started: ask, wait `grace_seconds`, then kill the whole group."""
        if grace_seconds > 0 and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: the harmless part of the caller's, plus `extra`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = _THRIFTY | inherited | dict(extra or {})
    # Hadoop runs `chmod` and `rm`, which a caller with a PATH of its own may not have.
    known = [folder for folder in environment.get("PATH", "").split(os.pathsep) if folder]
    environment["PATH"] = os.pathsep.join(dict.fromkeys([*known, "/usr/bin", "/bin"]))
    return environment
