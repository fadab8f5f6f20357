"""The stages Bronze → Silver → Gold → warehouse: whatever breaks, retries end with the rows of an undisturbed run.

An engine, a disk and a warehouse fail while the platform's own runs process a date and its late files; the
last part breaks the platform on purpose. The kill of a run's own process is in the pipeline's integration tests; the
stages are in docs/architecture.md.
"""

from __future__ import annotations

import random
import resource
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from infra.embedded.processes.ports import free_ports
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import settings
from processing.one_date import SilverDone
from spark_jobs import steps
from spark_jobs.correction import touched_keys
from spark_jobs.writing import gold_merge, tables
from tests.rigs.faults.faulty_s3 import Fault
from tests.rigs.faults.lake_mutants import appended, unchecked
from tests.rigs.faults.lake_rig import DOMAINS, FIRST, CutLine, LakeRig
from tests.rigs.lake.bronze_days import DAY
from tests.rigs.platform_environment import environment
from warehouse import load

Everything = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Platform:
    """The services of this module, and what they make of each domain when nobody disturbs them."""

    sail: SparkConnect
    warehouse: WarehouseService
    line: CutLine


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("lake_faults")
    with (
        SparkConnect(folder / "sail", engine="sail", port=free_ports(1)[0]) as sail,
        WarehouseService(folder / "warehouse", durable=True) as warehouse,
    ):
        line = CutLine(warehouse.port)
        yield Platform(sail, warehouse, line)
        line.close()


def database() -> str:
    return f"T{uuid.uuid4().hex[:10]}"


def variables(platform: Platform, lake: dict[str, str], database: str) -> dict[str, str]:
    return {
        **platform.warehouse.env(),
        "SNOWFLAKE_PORT": str(platform.line.port),
        "SNOWFLAKE_DATABASE": database,
        "PARTITION_RETRY_BACKOFF_SECONDS": "0",
        "PARTITION_SETTLE_SECONDS": "0",
        **lake,
    }


@dataclass(frozen=True)
class Undisturbed:
    """A lake of both domains before the late files, and Silver and Gold after them."""

    first: Path
    late: dict[str, Everything]


@pytest.fixture(scope="module")
def undisturbed(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What comes of each domain without a fault; it is audited like what comes of it with one."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with environment(variables(platform, {"LAKE_URI": str(folder / "lake")}, "UNDISTURBED")):
        rig = LakeRig(platform.sail.env()["SPARK_REMOTE"], folder / "bronze")
        for name in DOMAINS:
            rig.put(name, FIRST[name]())
            assert rig.settle(name) == 1, rig.failures
        shutil.copytree(folder / "lake", folder / "first")
        for name in DOMAINS:
            assert rig.run_late(name) == 1, rig.failures
            rig.assert_clean(name, {})
        return Undisturbed(folder / "first", {name: rig.everything(name) for name in DOMAINS})


@pytest.fixture
def rig(platform: Platform, undisturbed: Undisturbed, tmp_path: Path) -> Iterator[LakeRig]:
    """A rig whose lake is a folder and has the dates before their late files."""
    shutil.copytree(undisturbed.first, tmp_path / "lake")
    with environment(variables(platform, {"LAKE_URI": str(tmp_path / "lake")}, database())):
        yield LakeRig(platform.sail.env()["SPARK_REMOTE"], tmp_path / "bronze")


WRITERS, DATES = 3, 4


def test_no_transition_is_lost_or_doubled_when_replies_are_lost(s3_lake, faulty_s3):
    """Writers race for each date's claim, and the winner finishes it, while three replies of ten get lost."""
    with environment(s3_lake):
        lake = Lake(settings())
        days = [DAY + timedelta(days=number) for number in range(DATES)]
        DeltaPartitionMeta(lake).apply([Change("events", day, State.UNDISCOVERED, Event.FILES_FOUND) for day in days])
        believed: list[tuple[date, Event, str]] = []
        errors: list[BaseException] = []

        def write(run: str) -> None:
            store = DeltaPartitionMeta(lake)
            try:
                for day in days:
                    claim = Change("events", day, State.PENDING, Event.RUN_STARTED, run_id=run, set={"run_id": run})
                    try:
                        store.apply([claim])
                    except StateConflictError:
                        continue
                    believed.append((day, Event.RUN_STARTED, run))
                    store.apply([Change("events", day, State.IN_FLIGHT, Event.RENEWED, run_id=run)])
                    store.apply([Change("events", day, State.IN_FLIGHT, Event.SUCCEEDED, run_id=run)])
                    believed.append((day, Event.SUCCEEDED, run))
            except BaseException as error:
                errors.append(error)

        faulty_s3.fault, faulty_s3.rate = Fault.REPLY_LOST, 0.3
        threads = [threading.Thread(target=write, args=(f"run-{number}",)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        faulty_s3.fault = None
        assert faulty_s3.counts[Fault.REPLY_LOST] > 5, "the fault is not felt"
        assert not errors, f"a writer does not know what became of its commit: {errors}"
        store = DeltaPartitionMeta(lake)
        assert {row.partition_date: row.status for row in store.rows("events")} == dict.fromkeys(days, State.DONE)
        told = Counter((t.partition_date, t.event, t.run_id) for t in store.history("events"))
        told -= Counter({(day, "files_found", None): 1 for day in days})
        assert told == Counter((day, event.value, run) for day, event, run in believed)
        assert set(told.values()) == {1} and len(told) == 2 * DATES


@pytest.mark.parametrize(("name", "before_it"), [("orders", "silver/orders_quarantine"), ("events", "silver/events")])
def test_kill_9_of_the_engine_in_the_middle_of_a_job(platform, rig, undisturbed, seed, name, before_it):
    """The engine dies a moment after the commit of one table, when it is at the next: Silver, or Gold."""
    commits = Path(rig.lake.path(before_it)) / "_delta_log"
    count, killed = len(list(commits.glob("*.json"))), []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while len(list(commits.glob("*.json"))) == count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0, 0.05))
        killed.append(platform.sail.pid)
        platform.sail.crash()
        platform.sail.restart()

    killer = threading.Thread(target=kill)
    rig.run_late(name, before=lambda attempt: killer.start() if attempt == 0 else None)
    killer.join()
    # Not each attempt fails: the client asks again, and an engine that is back in a second may answer it.
    assert killed and killed != [None], "there was no engine to kill"
    rig.assert_clean(name, undisturbed.late[name])


@pytest.mark.parametrize(("name", "stage"), [("orders", "silver"), ("events", "gold")])
def test_the_disk_is_full_for_a_while(platform, rig, undisturbed, monkeypatch, name, stage):
    """A limit on the size of the engine's files makes each write fail, as a full disk does."""
    monkeypatch.setattr(gold_merge, "ENGINE_MERGE_ROWS", 0)  # it is the engine that has no room
    assert platform.sail.pid is not None
    _, hard = resource.prlimit(platform.sail.pid, resource.RLIMIT_FSIZE)

    def fill(size: int) -> None:
        resource.prlimit(platform.sail.pid, resource.RLIMIT_FSIZE, (size, hard))

    full: list[int] = []

    def before(attempt: int) -> None:
        fill(100 if attempt == 0 and stage == "silver" else hard)
        full.append(attempt)

    def on_step(step: object) -> None:
        if isinstance(step, SilverDone) and full[-1] == 0 and stage == "gold":
            fill(100)

    try:
        attempts = rig.run_late(name, before=before, on_step=on_step)
    finally:
        fill(hard)
    assert attempts == 2 and len(rig.failures) == 1, f"the limit is not felt: {rig.failures}"
    rig.assert_clean(name, undisturbed.late[name])


@pytest.mark.parametrize(
    ("statement", "fault", "dies"),
    [
        ("MERGE INTO", Fault.RESET, True),
        ("COMMIT", Fault.RESET, True),
        ("COMMIT", Fault.REPLY_LOST, False),
    ],
)
def test_the_warehouse_is_lost_in_the_middle_of_a_load(platform, rig, undisturbed, statement, fault, dies):
    """It dies before it has carried the statement out, or its answer to the COMMIT never arrives."""

    def die() -> None:
        platform.warehouse.crash()
        platform.warehouse.restart()
        platform.line.target = ("127.0.0.1", platform.warehouse.port)

    hits = platform.line.hits

    def before(attempt: int) -> None:
        if attempt == 0:
            platform.line.cut(statement, fault, die if dies else lambda: None)

    rig.load("orders")
    rig.run_late("orders", before=before)
    assert platform.line.hits == hits + 1, "the line was not cut"
    rig.assert_clean("orders", undisturbed.late["orders"])


def nothing_vanishes(rows: Any, _: object, __: object, keys: Any, *___: object) -> Any:
    return rows.select(list(keys)).slice(0, 0)


def all_that_is_good(rows: Any, *_: object) -> Any:
    return rows.where(steps._in_place(F.col(steps.REASON) == ""))


def load_without_delete(cursor: Any, *rest: Any) -> Any:
    class Forgetful:
        def execute(self, statement: str, *arguments: Any) -> Any:
            forgotten = statement.startswith("DELETE FROM")
            return cursor.execute(f"{statement} AND FALSE" if forgotten else statement, *arguments)

    return MERGE(Forgetful(), *rest)


MERGE = load._merge


@pytest.mark.parametrize(
    ("place", "mutant", "complaint"),
    [
        ((tables, "replace_partition"), appended, "audit: .*Stage.SILVER"),
        ((gold_merge, "_vanished_keys"), nothing_vanishes, "audit: .*Stage.GOLD"),
        ((load, "_merge"), load_without_delete, "audit: .*Stage.WAREHOUSE"),
        ((steps, "latest_and_good"), all_that_is_good, "audit: .*Stage.SILVER"),
    ],
    ids=["silver is appended", "vanished groups stay", "the load does not delete", "older versions stay"],
)
def test_a_broken_platform_is_found(rig, undisturbed, monkeypatch, place, mutant, complaint):
    unchecked(monkeypatch)
    monkeypatch.setattr(load, "_compare", lambda *_: None)
    monkeypatch.setattr(*place, mutant)
    monkeypatch.setattr(touched_keys, "MOST_NEW_ROWS", 0)  # the date as a whole, which is what the mutants break
    rig.load("orders")
    rig.run_late("orders")
    with pytest.raises(AssertionError, match=complaint):
        rig.assert_clean("orders", undisturbed.late["orders"])
