"""The metrics port that a worker gets, and where others find it."""

from __future__ import annotations

import re
import stat
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from infra.embedded.errors import ServiceStartError
from infra.embedded.processes.workers import KAFKA_LOGIN, SECRETS_OF, Workers
from platform_core.errors import TransientError
from platform_core.probe_server import Health, ProbeServer

SHOW_PORT = "import os; print('shown', os.environ.get('METRICS_PORT'))"
SHOW_NAMES = "import os; print('shown', *os.environ)"
SHOW_KAFKA = "import os; print('shown', *sorted(v for n, v in os.environ.items() if n.startswith('KAFKA_')))"


def shown(
    workers: Workers, root: Path, name: str, *, endpoint: bool = False, code: str = SHOW_PORT, kafka_user: str = ""
) -> str:
    arguments = ("-n1", "-r1", code)
    workers.start(name, "timeit", *arguments, kafka_user=kafka_user, may_end=True, endpoint=endpoint)
    deadline = time.monotonic() + 30
    while "shown" not in (text := (root / "logs" / f"{name}.log").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return next(line.removeprefix("shown ") for line in text.splitlines() if line.startswith("shown"))


def test_a_process_that_stays_has_its_own_secrets_alone(tmp_path: Path) -> None:
    workers = Workers(tmp_path, dict.fromkeys(SECRETS_OF, "secret"), {})
    registry = {"SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD"}
    mine = (
        {"SINK_FLUSH_TOKEN", *registry},
        {"POSTGRES_DSN", *registry},
        SECRETS_OF.keys() - {"SINK_FLUSH_TOKEN", *registry},
    )
    try:
        for name, secrets in zip(("sink", "producer-users", "dagster-daemon"), mine, strict=True):
            names = set(shown(workers, tmp_path, name, code=SHOW_NAMES).split())
            assert names & SECRETS_OF.keys() == secrets
    finally:
        workers.stop()


@pytest.mark.parametrize("process", ["dagster-code", "shop"])
def test_what_is_left_of_the_variables_is_accepted_as_settings(tmp_path: Path, process: str) -> None:
    stack = {**dict.fromkeys(SECRETS_OF, "secret"), "POSTGRES_DSN": "postgresql://shop:secret@127.0.0.1:5432/shop"}
    stack |= {
        "LAKE_URI": str(tmp_path),
        "SCHEMA_REGISTRY_USERNAME": "platform",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/x",
    }
    workers = Workers(tmp_path, stack, {})
    try:
        accepted = "from platform_core.settings import settings; settings(); print('shown accepted')"
        assert shown(workers, tmp_path, process, code=accepted) == "accepted"
    finally:
        workers.stop()


def test_a_process_has_its_own_login_of_kafka_and_nobody_elses(tmp_path: Path) -> None:
    operators = dict.fromkeys(KAFKA_LOGIN, "the operator's")
    workers = Workers(tmp_path, operators, {"sink": "password-1", "admin": "password-2"})
    try:
        login = shown(workers, tmp_path, "sink", code=SHOW_KAFKA, kafka_user="sink")
        assert login.split() == ["password-1", "password-1", "sink", "sink"]
        assert shown(workers, tmp_path, "warm-up", code=SHOW_KAFKA) == "shown"
        workers.run(
            "timeit", "-n1", "-r1", "import os; assert 'admin' == os.environ['KAFKA_USERNAME']", kafka_user="admin"
        )
        assert "KAFKA_PASSWORD='the operator's'" in workers.write_env().read_text()
    finally:
        workers.stop()


def test_the_env_file_has_secrets_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = Workers(tmp_path, {"KAFKA_PASSWORD": "secret"}, {}).write_env()
    assert "secret" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_worker_with_an_endpoint_has_a_port_of_its_own_and_the_sinks_is_in_the_env_file(tmp_path: Path) -> None:
    workers = Workers(tmp_path, {"STATE_DIR": "somewhere"}, {})
    try:
        assert "SINK_ENDPOINT_URL" not in workers.write_env().read_text()
        assert shown(workers, tmp_path, "shop", endpoint=False) == "None"
        ports = {name: shown(workers, tmp_path, name, endpoint=True) for name in ("sink", "producer-users")}
        assert ports == {name: str(port) for name, port in workers.metrics_ports.items()}
        assert len(set(ports.values())) == 2
        text = workers.write_env().read_text()
        assert f"SINK_ENDPOINT_URL='http://127.0.0.1:{ports['sink']}'" in text
        assert "METRICS_PORT" not in text
    finally:
        workers.stop()


def test_a_flush_that_the_sink_refuses_or_does_not_end_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    workers = Workers(tmp_path, {}, {})
    outcomes: list[Exception | None] = [None, TransientError("It goes on trying; look at its log."), KeyError("code")]

    def flush() -> dict[str, object]:
        if outcome := outcomes.pop(0):
            raise outcome
        return {"drained": True}

    def served(token: str) -> ProbeServer:
        server = ProbeServer(0, CollectorRegistry(), lambda: Health(True), actions={"flush": flush}, token=token)
        workers._metrics_ports["sink"] = server.port
        return server

    log = re.escape(str(tmp_path / "logs" / "sink.log"))
    with served("another"), pytest.raises(ServiceStartError, match=rf"401: .*`SINK_FLUSH_TOKEN` must be.*{log}"):
        workers.flush_sink()
    with served(workers._env["SINK_FLUSH_TOKEN"]):
        workers.flush_sink()
        with pytest.raises(ServiceStartError, match=rf"504: It goes on trying.*{log}"):
            workers.flush_sink()
        with pytest.raises(ServiceStartError, match=rf"500: .*KeyError.*{log}"):
            workers.flush_sink()
    with pytest.raises(ServiceStartError, match=rf"does not answer: .*{log}"):
        workers.flush_sink()
