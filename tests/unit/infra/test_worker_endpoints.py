"""The metrics port that a worker gets, and where others find it."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from infra.embedded.processes.workers import Workers

SHOW_PORT = ("timeit", "-n1", "-r1", "import os; print('port', os.environ.get('METRICS_PORT'))")


def shown(workers: Workers, root: Path, name: str, *, endpoint: bool) -> str:
    workers.start(name, *SHOW_PORT, may_end=True, endpoint=endpoint)
    deadline = time.monotonic() + 30
    while "port" not in (text := (root / "logs" / f"{name}.log").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return next(line.removeprefix("port ") for line in text.splitlines() if line.startswith("port"))


def test_the_env_file_has_secrets_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = Workers(tmp_path, {"KAFKA_PASSWORD": "secret"}).write_env()
    assert "secret" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_worker_with_an_endpoint_has_a_port_of_its_own_and_the_sinks_is_in_the_env_file(tmp_path: Path) -> None:
    workers = Workers(tmp_path, {"STATE_DIR": "somewhere"})
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
