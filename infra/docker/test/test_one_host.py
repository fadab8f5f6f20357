"""The platform in Compose, built and run: `make compose-test`. Its tests go from a first start to faults, in order.

What can be judged without an engine is in tests/unit/infra/test_compose.py. Needs Docker with Compose v2, and takes
some minutes; the stack of this repository's `.env` is started, and stays unless COMPOSE_TEST_DOWN is set. With
COMPOSE_TEST_AS_IS nothing is built: what runs is tested.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, settings

BUILD_SECONDS = 3600
START_SECONDS = 1200
DONE_SECONDS = 1200
STILL_SECONDS = 600
ENV_FILE = REPOSITORY / ".env"

# From whose container which address must not be reached: a service of another network, or a door of another role.
FORBIDDEN = {
    "producer-events": [
        "store:9000",
        "172.20.1.1:9000",
        "spark-connect:15002",
        "172.20.3.13:15002",
        "dagster-webserver:3000",
    ],
    "s3-sink-consumer": ["172.20.0.10:4000", "172.20.3.13:15002", "dagster-webserver:3000"],
    "spark-worker-1": ["kafka-1:9092", "postgres:5432", "172.20.0.10:4000"],
    "ui-proxy": ["kafka-1:9092", "store:9000", "spark-master:7077"],
    "warehouse": ["store:9000", "kafka-1:9092", "postgres:5432", "172.20.0.10:4000"],
    "registry": ["store:9000", "172.20.0.10:4000", "spark-master:7077"],
    "grafana": ["s3-sink-consumer:9100", "kafka-1:9092", "172.20.2.1:8081", "172.20.0.10:4000", "alertmanager:9093"],
    "prometheus": ["store:9000", "spark-master:7077", "172.20.0.10:4000"],
    "alertmanager": ["s3-sink-consumer:9100", "kafka-1:9092", "grafana:3000"],
}
PERMITTED = {
    "producer-events": ["kafka-1:9092", "registry:8081"],
    "spark-worker-1": ["store:9000", "spark-master:7077"],
    "grafana": ["prometheus:9090"],
    "prometheus": ["alertmanager:9093"],
}


def compose(*arguments: str, check: bool = True, timeout: float = 300) -> str:
    """Run `docker compose` and return what it printed."""
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise AssertionError(
            f"docker compose {' '.join(arguments)}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def docker(*arguments: str) -> str:
    """Run `docker` and return what it printed."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=True).stdout


def pdp(*arguments: str) -> Any:
    """Run an operator's command and return its answer, or its line about a service that does not answer yet."""
    text = compose("run", "--rm", "-T", "pdp", *arguments, "--json", check=False)
    try:
        return json.loads(text)
    except ValueError:
        return {"error": text}


def states() -> dict[str, str]:
    """Return each service's health, or how its one-shot ended."""
    lines = compose("ps", "--all", "--format", "{{.Service}}\t{{.Health}}\t{{.State}}\t{{.ExitCode}}").splitlines()
    found = {}
    for line in lines:
        service, health, state, code = line.split("\t")
        found[service] = health or f"{state} {code}"
    return found


def wait_healthy() -> None:
    """Wait until every service is healthy and every one-shot has ended well, while anything still changes.

    A busy host takes minutes for each service, and the last one to start waits for all before it.
    """
    before: dict[str, str] = {}
    deadline = 0.0
    while bad := {name: state for name, state in states().items() if state not in ("healthy", "exited 0")}:
        if bad != before:
            before, deadline = bad, time.monotonic() + STILL_SECONDS
        assert time.monotonic() < deadline, bad
        time.sleep(3)


def wait_audit_clean(seconds: float = 600) -> None:
    """Wait until the audit explains every difference; records that are on their way need a moment."""
    deadline = time.monotonic() + seconds
    while True:
        report = pdp("audit")
        if report.get("clean"):
            return
        assert time.monotonic() < deadline, json.dumps(report, indent=1)[-4000:]
        time.sleep(10)


def environment() -> dict[str, str]:
    """Return the variables of `.env`."""
    lines = ENV_FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def kill(service: str) -> None:
    """Kill the process of a service's container as a crash would: a `docker kill` would count as a wish."""
    container = compose("ps", "--quiet", service).strip()
    os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", container)), signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    """Build what runs."""
    if not os.environ.get("COMPOSE_TEST_AS_IS"):
        compose("build", timeout=BUILD_SECONDS)


@pytest.fixture(scope="module", autouse=True)
def stack(images: None) -> Iterator[None]:
    """Start everything; say what was wrong when it does not come up."""
    try:
        compose("up", "--detach", "--wait", timeout=START_SECONDS)
    except AssertionError:
        for service, state in states().items():
            if state not in ("healthy", "exited 0"):
                print(f"--- {service}: {state}\n" + compose("logs", "--tail", "30", service, check=False))
        raise
    yield
    if os.environ.get("COMPOSE_TEST_DOWN"):
        compose("down", "--volumes", timeout=600)


def test_every_service_is_healthy() -> None:
    wait_healthy()


def test_the_dates_of_history_become_done_by_the_sensors_alone() -> None:
    wait_done(_is_ready)


def wait_done(is_ready: Callable[[str], bool]) -> None:
    """Wait until every domain has a date that is ready, and each of those is DONE."""
    today = datetime.now(UTC).date().isoformat()
    names = set(load_catalog(settings().domains_file).names)
    deadline = time.monotonic() + DONE_SECONDS
    while True:
        rows = pdp("partitions", "list").get("partitions", [])
        done = {(row["domain"], row["partition_date"]) for row in rows if row["status"] == "DONE"}
        listed = {(row["domain"], row["partition_date"]) for row in rows if row["partition_date"] < today}
        ready = {(domain, day) for domain, day in listed if is_ready(day)}
        if {domain for domain, _ in ready & done} == names and ready <= done:
            return
        assert time.monotonic() < deadline, [row for row in rows if row["status"] != "DONE"]
        time.sleep(10)


def _is_ready(day: str) -> bool:
    # A date is processed from 06:00 UTC of the next day on.
    since = datetime.now(UTC) - datetime.fromisoformat(day).replace(tzinfo=UTC)
    return since.total_seconds() > (24 + 7) * 3600


def test_nothing_was_lost() -> None:
    wait_audit_clean()


@pytest.mark.parametrize("service", FORBIDDEN)
def test_a_service_reaches_its_own_networks_only(service: str) -> None:
    for address in FORBIDDEN[service]:
        assert not _reaches(service, address), f"{service} reaches {address}"
    for address in PERMITTED.get(service, ()):
        assert _reaches(service, address), f"{service} does not reach {address}"


def _reaches(service: str, address: str) -> bool:
    host, port = address.split(":")
    script = f"timeout 3 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null && echo yes || echo no"
    return compose("exec", "-T", service, "bash", "-c", script).strip() == "yes"


def test_the_orchestrators_database_takes_no_login_from_the_producers_network() -> None:
    url = f"postgresql://dagster:{environment()['DAGSTER_DB_PASSWORD']}@shop-database:5432/dagster"
    script = "import os, psycopg2; psycopg2.connect(os.environ['URL'], connect_timeout=5)"
    done = _run_in("producer-orders", script, URL=url)
    assert done.returncode
    assert "no pg_hba.conf entry" in done.stderr


def _run_in(service: str, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a service's container; its variables are in this process's environment, not on a command line."""
    names = [part for name in variables for part in ("--env", name)]
    return subprocess.run(
        ["docker", "compose", "exec", "-T", *names, service, "python", "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_SEND = """
import os, sys, confluent_kafka as ck
from platform_core.settings import settings
from platform_kafka.topics import kafka_client_config
errors = []
p = ck.Producer({**kafka_client_config(settings()), "message.timeout.ms": 15000, "log_level": 0})
p.produce(sys.argv[1], b"{}", on_delivery=lambda e, m: errors.append(e))
p.flush(20)
print(errors[0].name() if errors and errors[0] else "taken")
"""
_READ = """
import sys, time, confluent_kafka as ck
from platform_core.settings import settings
from platform_kafka.topics import kafka_client_config
c = ck.Consumer({**kafka_client_config(settings()), "group.id": "another", "log_level": 0})
c.assign([ck.TopicPartition(sys.argv[1], 0, 0)])
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    m = c.poll(1)
    if m is not None:
        print(m.error().name() if m.error() else "read"); break
"""


@pytest.mark.parametrize(
    ("service", "script", "topic"),
    [
        ("producer-events", _SEND, "raw-orders"),
        ("producer-orders", _SEND, "dlq-raw-events"),
        ("producer-orders", _READ, "raw-orders"),
        ("s3-sink-consumer", _SEND, "raw-orders"),
        ("s3-sink-consumer", _READ, "pipeline-alerts"),
        ("dagster-daemon", _SEND, "raw-orders"),
    ],
)
def test_a_user_of_kafka_is_refused_what_is_not_its_own(service: str, script: str, topic: str) -> None:
    script = script.replace("sys.argv[1]", repr(topic))
    assert _run_in(service, script).stdout.strip() in ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED")


def test_the_host_shows_two_ports_beyond_loopback() -> None:
    shown = set()
    for line in docker("ps", "--filter", "label=com.docker.compose.project=pdp", "--format", "{{.Ports}}").splitlines():
        shown |= set(re.findall(r"(?:0\.0\.0\.0|\[::\]|:::?):(\d+)->", line))
    variables = environment()
    expected = {variables.get("UI_PORT", "8080"), variables.get("STORE_CONSOLE_PORT", "9001")}
    assert shown == expected
    outside = next(ip for ip in docker_host_addresses() if not ip.startswith("127."))
    for port in ("9000", "5432", "8081", "7077", "18080", "8082", "8083", "9090", "3000"):
        with pytest.raises(OSError):
            socket.create_connection((outside, int(port)), timeout=2).close()
    for port in expected:
        socket.create_connection((outside, int(port)), timeout=5).close()


def docker_host_addresses() -> list[str]:
    """Return this host's own addresses that are no network's of Compose."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    return [ip for ip in found if ":" not in ip and not ip.startswith("172.2")]


def _ask_ui(path: str, **headers: str) -> int:
    port = environment().get("UI_PORT", "8080")
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    if "graphql" in path and "?" not in path:
        request.data = json.dumps({"query": "{version}"}).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_ui_wants_a_login_its_own_name_and_its_own_pages() -> None:
    variables = environment()
    login = "Basic " + b64encode(f"{variables['UI_USER']}:{variables['UI_PASSWORD']}".encode()).decode()
    own = f"http://127.0.0.1:{variables.get('UI_PORT', '8080')}"
    assert _ask_ui("/graphql") == 401
    assert _ask_ui("/graphql", Authorization="Basic " + b64encode(b"pdp:pdp").decode()) == 401
    assert _ask_ui("/graphql", Authorization=login) == 200
    assert _ask_ui("/graphql", Authorization=login, Origin=own) == 200
    assert _ask_ui("/graphql", Authorization=login, Origin="http://evil.example") == 403
    assert _ask_ui("/graphql", Authorization=login, Sec_Fetch_Site="cross-site") == 403
    assert _ask_ui("/graphql?query={version}", Authorization=login) == 405
    assert _ask_ui("/graphql", Authorization=login, Host="evil.example") == 421


def _ask_grafana(path: str, password: str) -> Any:
    variables = environment()
    address = f"http://127.0.0.1:{variables.get('GRAFANA_PORT', '3000')}{path}"
    request = urllib.request.Request(address)
    login = f"{variables['UI_USER']}:{password}"
    request.add_header("Authorization", "Basic " + b64encode(login.encode()).decode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return json.load(answer)


def _through_grafana(query: str) -> list[Any]:
    path = f"/api/datasources/proxy/uid/prometheus/api/v1/query?query={quote(query)}"
    result: list[Any] = _ask_grafana(path, environment()["GRAFANA_PASSWORD"])["data"]["result"]
    return result


def test_a_person_is_erased_from_every_layer() -> None:
    catalog = load_catalog(settings().domains_file)
    tables = [(each.source_table, each.subjects["user"]) for each in catalog if each.source_table and each.subjects]
    table, column = tables[0]
    [user] = _shop(f"select {column} from {table} group by 1 order by count(*) desc limit 1")
    for table, column in tables:
        _shop(f"delete from {table} where {column} = {user}")
    deadline = time.monotonic() + DONE_SECONDS
    while True:  # it is refused while tombstones are on their way, and waits for the dates that are processed again
        answer = compose("run", "--rm", "-T", "erase", "user", user, "--yes", "--json", check=False)
        if answer.startswith("{") and json.loads(answer)["complete"]:
            break
        assert time.monotonic() < deadline, answer[-2000:]
        time.sleep(15)
    before = json.loads(answer)["layers"]
    assert {line["layer"] for line in before} >= {"kafka", "bronze", "silver", "source", "warehouse"}
    wait_audit_clean()


def _shop(statement: str) -> list[str]:
    """Run a statement in the source's database and return the rows that it gave, a text each."""
    answer = compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-qtAX", "-d", "pipeline_db", "-c", statement)
    return answer.split()


def test_every_process_is_watched() -> None:
    deadline = time.monotonic() + 120
    while down := [each["metric"] for each in _through_grafana("up == 0")]:
        assert time.monotonic() < deadline, down  # a first scrape may come before the process listens
        time.sleep(5)
    assert len(_through_grafana('up{job!="prometheus"}')) == 7


def test_alertmanager_takes_what_prometheus_raises() -> None:
    port = environment().get("PROMETHEUS_PORT", "9090")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/api/v1/alertmanagers", timeout=20) as answer:
        active = json.load(answer)["data"]["activeAlertmanagers"]
    assert [each["url"] for each in active] == ["http://alertmanager:9093/api/v2/alerts"]


def test_the_registry_wants_its_login() -> None:
    url = f"http://127.0.0.1:{environment().get('REGISTRY_PORT', '8081')}/apis/ccompat/v7/subjects"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(url, timeout=20)
    login = b64encode(f"platform:{environment()['SCHEMA_REGISTRY_PASSWORD']}".encode()).decode()
    with opener.open(urllib.request.Request(url, headers={"Authorization": f"Basic {login}"}), timeout=20) as answer:
        assert "raw-orders-value" in json.load(answer)


def test_the_audit_of_every_day_runs_as_the_orchestrator_and_explains_everything() -> None:
    launch = "exec -T dagster-code dagster job launch -w infra/docker/dagster/workspace.yaml -j audit"
    compose(*launch.split(), timeout=600)
    deadline = time.monotonic() + 600
    while not (ended := _through_grafana("pdp_audit_timestamp_seconds > time() - 600")):
        assert time.monotonic() < deadline
        time.sleep(5)
    assert ended and not _through_grafana("pdp_audit_problems > 0 or pdp_audit_not_checked > 0")


def test_grafana_wants_its_password_and_each_panel_of_the_overview_has_data() -> None:
    for password in ("", "admin", environment()["UI_PASSWORD"]):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _ask_grafana("/api/search", password)
    overview = _ask_grafana("/api/dashboards/uid/pdp-overview", environment()["GRAFANA_PASSWORD"])["dashboard"]
    queries = {target["expr"] for panel in overview["panels"] for target in panel.get("targets", ())}
    deadline = time.monotonic() + 180  # what comes of a rate needs two scrapes, what comes of the lake a read of it
    while empty := [
        query
        for query in queries
        if "by (alertname)" not in query and not _through_grafana(query.replace("$__rate_interval", "5m"))
    ]:
        assert time.monotonic() < deadline, empty
        time.sleep(10)


def test_no_secret_is_in_an_image_a_log_or_a_command_line() -> None:
    secrets = [value for name, value in environment().items() if re.search("PASSWORD|SECRET", name)]
    processes = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    logs = compose("logs", "--no-color", timeout=600)
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=pdp/*").split()
    history = "".join(docker("history", "--no-trunc", image) + docker("inspect", image) for image in images)
    for text, what in ((processes, "a command line"), (logs, "a log"), (history, "an image's description")):
        assert not [1 for secret in secrets if secret in text], f"a secret is in {what}"
    # As root, because a file that only its owner reads would hide there.
    script = "grep -rlF -f - /opt /etc /usr/local/bin /tmp 2>/dev/null || true"
    for image in images:
        done = subprocess.run(
            [
                "docker",
                "run",
                "--rm",
                "-i",
                "--user",
                "0",
                "--network",
                "none",
                "--entrypoint",
                "bash",
                image,
                "-c",
                script,
            ],
            input="\n".join(secrets),
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        assert not done.stdout, f"{image}: {done.stdout}"


def test_a_start_without_a_secret_names_the_variable() -> None:
    done = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", "config", "-q"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "run make env" in done.stderr


def test_a_broker_may_stop() -> None:
    for broker in ("kafka-1", "kafka-2"):
        compose("stop", broker)
        time.sleep(20)  # records are sent and read meanwhile
        compose("start", broker)
        wait_healthy()
    wait_audit_clean()


@pytest.mark.parametrize(
    "service", ["s3-sink-consumer", "spark-worker-1", "spark-master", "dagster-daemon", "producer-orders", "kafka-1"]
)
def test_a_killed_service_comes_back(service: str) -> None:
    before = docker("inspect", "-f", "{{.RestartCount}}", compose("ps", "--quiet", service).strip())
    kill(service)
    deadline = time.monotonic() + 120
    while docker("inspect", "-f", "{{.RestartCount}}", compose("ps", "--quiet", service).strip()) == before:
        assert time.monotonic() < deadline
        time.sleep(1)
    wait_healthy()


def test_sparks_driver_has_executors_after_the_kills() -> None:
    # A master that has forgotten an application gives it none any more, and its jobs wait for ever.
    address = f"http://127.0.0.1:{environment().get('SPARK_UI_PORT', '18080')}/json/"
    deadline = time.monotonic() + 600
    while True:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=20) as answer:
            state = json.load(answer)
        if [each["state"] for each in state["activeapps"]] == ["RUNNING"] and state["coresused"] == state["cores"]:
            return
        assert time.monotonic() < deadline, state
        time.sleep(5)


def test_nothing_was_lost_by_the_kills() -> None:
    wait_audit_clean()


def test_a_drive_may_be_lost() -> None:
    compose("exec", "-T", "store", "bash", "-c", "rm -rf /drives/3/data-lake || true")
    wait_audit_clean()


def test_each_service_may_be_restarted() -> None:
    for service, state in states().items():
        if state == "healthy":
            compose("restart", service)
    wait_healthy()
    wait_audit_clean()


def runbook(section_title: str, title: str) -> list[str]:
    """Return the commands of docs/operations.md that stand in a section below a bold title, one text a block."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.split(f"### {section_title}")[1].split("\n### ")[0].split(f"**{title}")[1]
    return re.findall(r"```bash\n(.*?)```", section.split("\n**")[0], re.DOTALL)


def run_as_written(commands: str) -> None:
    """Run a block of a runbook as it is written, up to its first error."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_everything_is_restored_from_a_copy_of_one_moment() -> None:
    save, restore = runbook("Backup and restore with Compose", "Everything at one moment")[:2]
    stop, copy = save.split("for volume", 1)
    run_as_written(stop)
    exits = dict(line.split() for line in compose("ps", "--all", "--format", "{{.Service}} {{.ExitCode}}").splitlines())
    assert not [name for name in exits if name.startswith("kafka-") and exits[name] == "137"], (
        exits
    )  # killed at its limit
    run_as_written("for volume" + copy)
    run_as_written(restore)
    wait_healthy()
    wait_audit_clean()


def test_a_lost_object_store_is_filled_again_by_what_is_left() -> None:
    [commands] = runbook("One store is lost", "The object store")
    lines = commands.splitlines(keepends=True)
    run_as_written("".join(lines[:-1]))
    # Two days of history were replayed within minutes, so `pdp lag` shows today for all of them: yesterday is whole.
    today = datetime.now(UTC).date()
    kept = ENV_FILE.read_text(encoding="utf-8")
    first = f"PARTITIONS_START_DATE={today - timedelta(days=1)}\nSINK_MAX_REFUSED_RATIO=1\nPARTITION_READY_HOUR_UTC=0\n"
    try:
        ENV_FILE.write_text(kept + first, encoding="utf-8")
        run_as_written(lines[-1])
        wait_healthy()
        wait_done(lambda day: True)
        wait_audit_clean()
    finally:
        ENV_FILE.write_text(kept, encoding="utf-8")
