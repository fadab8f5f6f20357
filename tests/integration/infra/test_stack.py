"""The stack as a whole: side by side, on its own folder only, and gone with its owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg2
import pytest

from infra.embedded.errors import StackError
from infra.embedded.processes.process import child_environment
from infra.embedded.progress import Reporter
from infra.embedded.stack import ALL_SERVICES, Stack
from infra.embedded.toolchain.toolchain import REPOSITORY
from platform_core.domain.catalog import Catalog
from platform_core.settings import settings
from platform_kafka.clients import connect_admin
from platform_kafka.provision import ensure_topics
from platform_kafka.topics import dlq_name, topic_specs
from tests.rigs.kafka.kafka_user import KafkaUser
from tests.rigs.settings_of import settings_of

QUIET = Reporter(quiet=True)


def in_sessions(leaders: list[int]) -> list[int]:
    """Return the living processes of the sessions that the given processes lead, themselves included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z" and int(session) in leaders:
            found.append(int(stat.parent.name))
    return found


def run_owner(root: Path, services: Sequence[str]) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a process that owns a stack; return it and its services' process ids."""
    script = f"""
        from pathlib import Path
        from infra.embedded.stack import ALL_SERVICES, Stack
        import time
        with Stack(Path({str(root)!r}), services={services!r}, engine="sail") as stack:
            print("up", flush=True)
            time.sleep(120)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment({"PYTHONPATH": str(REPOSITORY)}),
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    state = json.loads((root / "stack.json").read_text())
    return owner, [service["pid"] for service in state["services"].values()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_owner(tmp_path: Path, number: signal.Signals) -> None:
    # Its owner's death is what each service notices by itself; an owner that is asked ends all alike.
    services = ALL_SERVICES if number == signal.SIGKILL else ("postgres", "warehouse")
    owner, pids = run_owner(tmp_path / "stack", services)
    assert len(pids) == len(services)
    assert set(pids) <= set(in_sessions(pids))
    owner.send_signal(number)
    owner.wait(180)
    deadline = time.monotonic() + 60
    while (left := in_sessions(pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    # A killed owner cannot tidy up; one that was asked to end does.
    assert (tmp_path / "stack" / "stack.json").exists() == (number == signal.SIGKILL)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the roles of a platform in Kafka."""
    folder = tmp_path_factory.mktemp("first") / "a"
    with Stack(folder, services=("kafka", "postgres"), reporter=QUIET, config=settings()) as stack:
        yield stack


def test_a_second_stack_runs_beside_the_first(first: Stack, tmp_path: Path) -> None:
    with Stack(tmp_path / "b", services=("kafka", "postgres"), reporter=QUIET) as second:
        ports = {service.port for stack in (first, second) for service in stack.services.values()}
        assert len(ports) == 4
        assert second.env()["LAKE_URI"] == str(tmp_path / "b" / "lake")
    assert first.alive()
    psycopg2.connect(first.env()["POSTGRES_DSN"]).close()
    state = (first.root / "stack.json").read_text()
    assert not [user for user, password in first.kafka_logins().items() if password in state]
    # What is written by hand has ports and ids only.
    open_files = [p for p in first.root.rglob("*") if p.is_file() and p.stat().st_mode & 0o077]
    assert {p.name for p in open_files} <= {"stack.json", "stack.lock", "server.properties", "meta.properties"}
    folders = [(first.root / name).stat().st_mode & 0o777 for name in ("lake", "state", "logs")]
    assert folders == [0o700] * 3


def test_each_role_is_refused_by_kafka_what_is_not_its_own(first: Stack, catalog: Catalog) -> None:
    """Each user tries everything: the platform's processes have one of these logins and no other."""
    config, logins = settings_of(first.env()), first.kafka_logins()
    specs = topic_specs(catalog)
    ensure_topics(connect_admin(config), specs, 1)
    every = {spec.name for spec in specs}
    raw = {domain.topic.name for domain in catalog}
    letters = {dlq_name(domain) for domain in catalog}
    alerts, ledger = {"pipeline-alerts"}, {"processed-events"}
    writes = {
        **{f"producer-{each.name}": {each.topic.name, dlq_name(each)} | alerts for each in catalog},
        "simulation": raw | letters,
        "sink": letters | ledger | alerts,
        "orchestrator": alerts,
        "operator": every,
        "registry": set(),
        "admin": every,
    }
    reads = {"sink": raw, "orchestrator": every, "operator": every, "admin": every}
    moves = {"sink", "operator", "admin"}
    assert writes.keys() == logins.keys()
    assert config.kafka_username == "operator"
    for user, password in reversed(logins.items()):  # the admin first: then each topic has a record to read
        client = KafkaUser(first.env()["KAFKA_BOOTSTRAP_SERVERS"], user, password)
        assert client.writable(every) == writes[user], user
        assert client.readable(every) == reads.get(user, set()), user
        assert client.moves("s3-sink-consumer", min(raw)) is (user in moves), user
        assert client.moves("another", min(raw)) is (user in moves - {"sink"}), user
        assert client.creates("forbidden") is (user == "admin"), user


def test_a_folder_belongs_to_one_stack_at_a_time(tmp_path: Path) -> None:
    second = Stack(tmp_path / "a", services=("postgres",), reporter=QUIET)
    with (
        Stack(tmp_path / "a", services=("postgres",), reporter=QUIET),
        pytest.raises(StackError, match="Another stack runs"),
    ):
        second.start()
    with Stack(tmp_path / "a", services=("postgres",), reporter=QUIET) as again:
        assert again.alive()


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="is not empty"):
        Stack(tmp_path, reporter=QUIET).start()
    assert (tmp_path / "thesis.txt").exists()


def test_an_unknown_service_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="`redis`"):
        Stack(tmp_path, services=("redis",))


def test_a_service_that_cannot_start_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.embedded.errors import ServiceStartError
    from infra.embedded.services import kafka

    monkeypatch.setattr(kafka, "server_properties", lambda *_args, **_kwargs: "process.roles=nonsense\n")
    stack = Stack(tmp_path / "a", services=("kafka", "postgres"), reporter=QUIET)
    with pytest.raises(ServiceStartError, match="nonsense"):
        stack.start()
    assert not stack.alive()
    assert stack.services == {}
