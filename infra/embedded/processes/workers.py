"""The platform's own processes on top of a stack: sink, producers, Dagster.

Which of them run, and when, belongs to the demo and to the live platform; the services below them to `stack`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.embedded.errors import ServiceStartError
from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.processes.process import PRIVATE_UMASK, ManagedProcess, child_environment, open_log
from infra.embedded.processes.service import new_password
from infra.embedded.toolchain.toolchain import REPOSITORY
from platform_kafka.access import ORCHESTRATOR

WORKER_STOP_SECONDS = 30.0
FLUSH_SECONDS = 40.0
"""The sink ends its answer after 30 s."""
HOLDING_SECRETS = (
    "POSTGRES_DSN",
    "SLACK_WEBHOOK_URL",
    "S3_SECRET_KEY",
    "S3_SESSION_TOKEN",
    "SINK_FLUSH_TOKEN",
    "SPARK_CONNECT_TOKEN",
)

SECRETS_OF = {
    "POSTGRES_DSN": ("shop", "producer", "dagster"),
    "SCHEMA_REGISTRY_PASSWORD": ("producer", "sink"),
    "SCHEMA_REGISTRY_USERNAME": ("producer", "sink"),  # no secret, but a half of a pair is refused
    "SINK_FLUSH_TOKEN": ("sink",),
    "SLACK_WEBHOOK_URL": ("dagster",),
    "SNOWFLAKE_PASSWORD": ("dagster",),
    "SPARK_CONNECT_TOKEN": ("dagster", "warm-up"),
}
"""Secrets that only some of the processes that stay need, by the beginning of their names; others do not get them."""
KAFKA_LOGIN = ("KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_ADMIN_USERNAME", "KAFKA_ADMIN_PASSWORD")


class Workers:
    """Starts and ends the platform's processes with the stack's environment.

    Args:
        root: The stack's folder; logs and Dagster's home go below it.
        env: The stack's variables and the settings of this way of running.
        kafka_logins: Users of Kafka and their passwords; each process has its own, or none.
    """

    def __init__(self, root: Path, env: Mapping[str, str], kafka_logins: Mapping[str, str]) -> None:
        self._root = root
        self._kafka_logins = kafka_logins
        self._env = {
            **env,
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(root),
            "PYTHONUNBUFFERED": "1",
            "DAGSTER_HOME": str(root / "dagster"),
            "SINK_FLUSH_TOKEN": new_password(),
        }
        self._running: dict[str, ManagedProcess] = {}
        self._argv: dict[str, Sequence[str]] = {}
        self._kafka_users: dict[str, str] = {}
        self._may_end: set[str] = set()
        self._metrics_ports: dict[str, int] = {}
        self.dagster_home = root / "dagster"
        self.ui = ""

    @property
    def running(self) -> dict[str, ManagedProcess]:
        """The processes by name."""
        return dict(self._running)

    def write_env(self) -> Path:
        """Write the variables to `env`, for a shell or a client of a person's own; gone when the workers stop.

        Returns:
            The file, readable by its owner only.
        """
        path = self._root / "env"
        env = dict(self._env)
        if "sink" in self._metrics_ports:
            env["SINK_ENDPOINT_URL"] = f"http://{LOOPBACK}:{self._metrics_ports['sink']}"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{name}='{value}'\n" for name, value in sorted(env.items()))
        return path

    def run(self, module: str, *arguments: str, kafka_user: str) -> dict[str, Any]:
        """Run `python -m module arguments` to its end and return the JSON object of its last line.

        Args:
            module: What `python -m` runs.
            kafka_user: As whom it asks Kafka.

        Raises:
            ServiceStartError: it failed; the message has the end of its log.
        """
        log = self._root / "logs" / f"{module}-{arguments[0]}.log"
        log.parent.mkdir(exist_ok=True)
        with open_log(log) as errors:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=child_environment(self._with_login(kafka_user)),
                cwd=REPOSITORY,
                umask=PRIVATE_UMASK,
                check=False,
            )
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        if done.returncode != 0:
            tail = "\n".join([*log.read_text(errors="replace").splitlines()[-15:], *lines[-5:]])
            raise ServiceStartError(
                f"`python -m {module} {' '.join(arguments)}` failed with exit code {done.returncode}."
                f" Its log `{log}` ends with:\n{tail}",
            )
        with contextlib.suppress(ValueError, IndexError):
            result = json.loads(lines[-1])
            if isinstance(result, dict):
                return result
        return {}

    @property
    def metrics_ports(self) -> dict[str, int]:
        """Name of each process with a metrics endpoint to its port; a restart does not change it."""
        return dict(self._metrics_ports)

    def start(
        self,
        name: str,
        module: str,
        *arguments: str,
        kafka_user: str = "",
        may_end: bool = False,
        endpoint: bool = False,
    ) -> ManagedProcess:
        """Start `python -m module arguments` under `name`.

        Args:
            name: The process's name here and in the logs.
            module: What `python -m` runs.
            kafka_user: As whom it asks Kafka; without, it cannot.
            may_end: It is not missed when it ends.
            endpoint: It serves its metrics and health on a port of its own.
        """
        if may_end:
            self._may_end.add(name)
        if endpoint:
            (self._metrics_ports[name],) = free_ports(1)
        self._kafka_users[name] = kafka_user
        return self._spawn(name, [sys.executable, "-m", module, *arguments])

    def flush_sink(self) -> None:
        """Ask the sink to write and commit all that it holds, and wait for it.

        Raises:
            ServiceStartError: it does not answer, or answers that it did not.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self._metrics_ports["sink"], timeout=FLUSH_SECONDS)
        token = self._env["SINK_FLUSH_TOKEN"]
        try:
            connection.request("POST", "/flush", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ServiceStartError(f"The sink does not answer: {error}. {self._log_of_sink}") from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ServiceStartError(
                f"The sink did not flush, it answered {response.status}: {_why(answer)} {self._log_of_sink}"
            )

    @property
    def _log_of_sink(self) -> str:
        return f"Its log is `{self._root / 'logs' / 'sink.log'}`."

    def start_dagster_ui(self) -> str:
        """Start Dagster's code server and webserver; return the UI's address."""
        code_port, web_port = free_ports(2)
        self._kafka_users["dagster-code"] = ORCHESTRATOR
        workspace = self._prepare_dagster(code_port)
        self.ui = self._env["UI_URL"] = f"http://{LOOPBACK}:{web_port}"  # alerts link to it
        code = self._spawn(
            "dagster-code",
            [
                sys.executable,
                "-m",
                "platform_assets.code_server",
                "-m",
                "platform_assets.definitions",
                "-d",
                str(REPOSITORY),
                "-h",
                LOOPBACK,
                "-p",
                str(code_port),
                "--location-name",
                "platform",
            ],
        )
        code.wait_ready(lambda: _grpc_answers(code_port), 180)
        web = self._spawn(
            "dagster-webserver",
            [
                sys.executable,
                "-m",
                "dagster_webserver",
                "-w",
                str(workspace),
                "-h",
                LOOPBACK,
                "-p",
                str(web_port),
                "--log-level",
                "warning",
            ],
        )
        web.wait_ready(lambda: _http_ok(web_port, "/server_info"), 180)
        return self.ui

    def start_dagster_daemon(self, *, endpoint: bool = False) -> None:
        """Start the daemon: from now on sensors tick and runs are launched.

        Args:
            endpoint: It serves metrics of the lake and of Kafka.
        """
        workspace = self.dagster_home / "workspace.yaml"
        arguments = ("-w", str(workspace), "--log-level", "info")
        self.start("dagster-daemon", "platform_assets.daemon", *arguments, kafka_user=ORCHESTRATOR, endpoint=endpoint)

    def stop(self) -> None:
        """End every process: first what feeds, last what shows."""
        order = ["producer", "shop", "sink", "dagster-daemon", "dagster-webserver", "dagster-code"]
        ranked = sorted(
            self._running, key=lambda n: next((i for i, prefix in enumerate(order) if n.startswith(prefix)), 9)
        )
        for name in ranked:
            self.stop_one(name)
        (self._root / "env").unlink(missing_ok=True)

    def stop_one(self, name: str) -> None:
        """End one process."""
        process = self._running.pop(name, None)
        if process is not None:
            process.stop(grace_seconds=WORKER_STOP_SECONDS if not name.startswith("dagster") else 8)

    def restart(self, name: str) -> ManagedProcess:
        """Start a process that ended again, with the arguments it had."""
        return self._spawn(name, self._argv[name])

    def dead(self) -> list[ManagedProcess]:
        """Return the processes that ended by themselves and should not have."""
        return [process for name, process in self._running.items() if not process.alive and name not in self._may_end]

    def _spawn(self, name: str, argv: Sequence[str]) -> ManagedProcess:
        env = {
            variable: value
            for variable, value in self._with_login(self._kafka_users.get(name, "")).items()
            if name.startswith(SECRETS_OF.get(variable, ("",)))
        }
        if (port := self._metrics_ports.get(name)) is not None:
            env["METRICS_PORT"] = str(port)
        process = ManagedProcess(
            name,
            argv,
            log=self._root / "logs" / f"{name}.log",
            env=env,
            cwd=REPOSITORY,
            # Dagster's processes end their own children only on an interrupt.
            stop_signal=signal.SIGINT if name.startswith("dagster") else signal.SIGTERM,
            secrets=[
                *self._kafka_logins.values(),
                *(value for key, value in self._env.items() if "PASSWORD" in key or key in HOLDING_SECRETS),
            ],
        )
        self._running[name], self._argv[name] = process, argv
        return process

    def _with_login(self, kafka_user: str) -> dict[str, str]:
        """Return the variables of a process, of Kafka's logins its own alone."""
        env = {variable: value for variable, value in self._env.items() if variable not in KAFKA_LOGIN}
        if kafka_user:
            # Where it asks as the admin too: a replay asks so for the ends of topics, and may as itself.
            login = (kafka_user, self._kafka_logins[kafka_user])
            env |= dict(zip(KAFKA_LOGIN, (*login, *login), strict=True))
        return env

    def _prepare_dagster(self, code_port: int) -> Path:
        self.dagster_home.mkdir(exist_ok=True)
        shutil.copyfile(REPOSITORY / "dagster.yaml", self.dagster_home / "dagster.yaml")
        workspace = self.dagster_home / "workspace.yaml"
        # One code server for webserver and daemon: each would otherwise load the code again (5 s of CPU).
        workspace.write_text(
            f"load_from:\n  - grpc_server: {{host: {LOOPBACK}, port: {code_port}, location_name: platform}}\n"
        )
        return workspace


def _grpc_answers(port: int) -> bool:
    import grpc

    with grpc.insecure_channel(f"{LOOPBACK}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        grpc.channel_ready_future(channel).result(timeout=2)
    return True


def _http_ok(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()


def _why(answer: str) -> str:
    """Return the reason in the answer of a process's endpoint; of one that another program gave, its first line."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(answer)["error"])
    return answer.strip().split("\n", 1)[0][:200] or "nothing."
