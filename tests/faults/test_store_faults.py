"""Bronze → Silver → Gold → warehouse on a bucket whose store fails: retries end with the rows of a folder that works.

What the sink does when its store fails is in `test_sink_faults`; a folder's disk, an engine and a warehouse that fail
are in `test_lake_faults`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from audit.erasure_ledger import ErasureLedger
from erasure import bronze
from erasure.run import Erasure, Outcome
from erasure.subject import Holder, holders
from erasure.topics import TopicRecords
from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from pdp.cli import app
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, settings
from spark_jobs.writing import tables
from tests.rigs.faults.faulty_s3 import CommitFault, Fault
from tests.rigs.faults.lake_mutants import appended, unchecked
from tests.rigs.faults.lake_rig import FIRST, LakeRig
from tests.rigs.lake.bronze_days import DAY
from tests.rigs.logged_process import LoggedProcess
from tests.rigs.platform_environment import environment
from tests.rigs.settings_of import settings_of

Everything = dict[str, list[dict[str, Any]]]
BUSY = (*(Fault.THROTTLED, Fault.UNAVAILABLE) * 4, Fault.SLOW)
"""Answers after which each client asks again by itself."""
BUSY_RATE = 1 / 5
CUT_OFF = (Fault.RESET, Fault.REPLY_LOST)
"""What ends a commit: no client sends a conditional PUT twice."""
CUT_OFF_RATE = 1 / 15
"""An attempt has some 50 writes, a dozen of them commits: every other attempt fails as a whole."""


@dataclass(frozen=True)
class Bucket:
    """An engine and a warehouse for the module, and a bucket behind a proxy that fails."""

    s3: CommitFault
    variables: dict[str, str]
    direct: dict[str, str]

    @property
    def engine(self) -> str:
        """The engine's URL."""
        return self.variables["SPARK_REMOTE"]

    def variables_of(self, lake_uri: str) -> dict[str, str]:
        """Return the variables of a lake, with a database of the warehouse of its own."""
        return {**self.variables, "LAKE_URI": lake_uri, "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}"}


@pytest.fixture(scope="module")
def bucket(
    object_store: ObjectStore, warehouse: WarehouseService, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bucket]:
    s3 = CommitFault(object_store.env()["S3_ENDPOINT_URL"], seed)
    behind_it = {**object_store.env(), "S3_ENDPOINT_URL": s3.endpoint}
    quick = {"PARTITION_RETRY_BACKOFF_SECONDS": "0", "PARTITION_SETTLE_SECONDS": "0"}
    with SparkConnect(tmp_path_factory.mktemp("sail"), engine="sail", environment=behind_it) as sail:
        yield Bucket(s3, {**warehouse.env(), **behind_it, **quick, **sail.env()}, object_store.env())
    s3.close()


@dataclass(frozen=True)
class Undisturbed:
    """A lake in a folder whose `orders` have not got their late files, and the rows of both domains at the end."""

    first: Path
    rows: dict[str, Everything]


@pytest.fixture(scope="module")
def undisturbed(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    with environment(bucket.variables_of(str(folder / "lake"))):
        rig = LakeRig(bucket.engine, folder / "bronze")
        rig.put("orders", FIRST["orders"]())
        assert rig.settle("orders") == 1, rig.failures
        shutil.copytree(folder / "lake", folder / "first")
        rig.put("events", FIRST["events"]())
        assert (rig.run_late("orders"), rig.settle("events")) == (1, 1), rig.failures
        for name in ("orders", "events"):
            rig.assert_clean(name, {})
        return Undisturbed(folder / "first", {name: rig.everything(name) for name in ("orders", "events")})


@pytest.fixture
def rig(bucket: Bucket, undisturbed: Undisturbed, tmp_path: Path) -> Iterator[LakeRig]:
    """A rig whose lake is a prefix of the bucket, with `orders` before their late files and nothing of `events`."""
    uri = f"s3://lake/{uuid.uuid4().hex[:8]}"
    direct = Lake(settings_of({**bucket.direct, "LAKE_URI": uri}))
    pafs.copy_files(
        str(undisturbed.first),
        direct.path(""),
        source_filesystem=pafs.LocalFileSystem(),
        destination_filesystem=direct.filesystem,
    )
    with environment(bucket.variables_of(uri)):
        yield LakeRig(bucket.engine, tmp_path / "bronze")
    bucket.s3.calm()


def prepare(rig: LakeRig, name: str) -> None:
    """Add the date's first files, or the late ones, while the store works."""
    if name == "orders":
        rig.put_late(name)
    else:
        rig.put(name, FIRST[name]())


@pytest.mark.parametrize(("faults", "rate"), [(BUSY, BUSY_RATE), (CUT_OFF, CUT_OFF_RATE)], ids=["busy", "cut_off"])
def test_a_store_that_fails_now_and_then(bucket, rig, undisturbed, faults, rate):
    """A date of `events` is made, and one of `orders` corrected, while writes of every stage fail."""
    for name in ("events", "orders"):
        prepare(rig, name)
    before = bucket.s3.counts.copy()
    bucket.s3.fault, bucket.s3.rate = faults, rate
    for name in ("events", "orders"):
        rig.settle(name)
    bucket.s3.calm()
    assert (bucket.s3.counts - before).keys() >= set(faults), "a fault is not felt"
    for name in ("events", "orders"):
        rig.assert_clean(name, undisturbed.rows[name])


def test_each_table_loses_the_reply_to_a_commit(bucket, rig, undisturbed):
    prepare(rig, "events")
    bucket.s3.strike(Fault.REPLY_LOST)
    rig.settle("events")
    bucket.s3.calm()
    rig.assert_clean("events", undisturbed.rows["events"])


def test_code_that_commits_twice_when_a_reply_is_lost_is_found(bucket, rig, monkeypatch):
    """It appends: without a fault it is right, and its second attempt finds the rows of the first."""
    unchecked(monkeypatch)
    monkeypatch.setattr(tables, "replace_partition", appended)
    prepare(rig, "events")
    bucket.s3.strike(Fault.REPLY_LOST)
    rig.settle("events")
    bucket.s3.calm()
    with pytest.raises(AssertionError, match=r"audit: .*Stage\.SILVER"):
        rig.assert_clean("events", {})


@pytest.mark.parametrize(
    ("name", "step", "fault"),
    [("orders", "SilverDone", Fault.RESET), ("events", "WarehouseDone", Fault.REPLY_LOST)],
)
def test_kill_9_of_a_run_while_the_store_fails(bucket, rig, undisturbed, tmp_path, name, step, fault):
    prepare(rig, name)
    command = [sys.executable, "-m", "tests.rigs.faults.killed_attempt", name, step]
    for _ in range(4):  # a run that the store fails first ends before that step
        assert rig.tick(rig.catalog[name])
        bucket.s3.fault, bucket.s3.rate = fault, CUT_OFF_RATE
        killed = LoggedProcess.begin(command, os.environ, tmp_path / "run.log")
        killed.wait(600)
        bucket.s3.calm()
        if killed.returncode == -signal.SIGKILL:
            break
    assert killed.returncode == -signal.SIGKILL, killed.log.read_text()[-3000:]
    row = rig.partitions.get(name, DAY)
    assert row is not None and row.status is State.IN_FLIGHT
    bucket.s3.fault = fault
    rig.settle(name)
    bucket.s3.calm()
    rig.assert_clean(name, undisturbed.rows[name])


class Operator:
    """Repeats a command that the store fails until it has done its work, or said what must come first.

    delta-rs holds the interpreter's lock while it changes a table's properties, so that the proxy in this process could
    not answer it: `maintain` runs in a process of its own.
    """

    def __init__(self, s3: CommitFault) -> None:
        self._s3 = s3

    def __call__(self, fault: Fault, *arguments: str) -> Any:
        self._s3.fault, self._s3.rate = fault, BUSY_RATE if fault in BUSY else CUT_OFF_RATE
        for _ in range(20):
            code, said, error = self._child(*arguments) if arguments[0] == "maintain" else self._here(*arguments)
            if code != 2:
                break
            assert "error: " in error, f"{arguments}: {said}{error}"
        self._s3.calm()
        assert code in (0, 1) and said, f"{arguments}: {said}{error}"
        return json.loads(said)

    @staticmethod
    def _here(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        return done.exit_code, done.stdout, f"{done.stderr} {done.exception!r}"

    @staticmethod
    def _child(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pdp", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout, done.stderr


def test_an_operators_commands_while_the_store_fails(bucket, rig, undisturbed, tmp_path, monkeypatch):
    entry = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())["domains"]["events"]
    (tmp_path / "domains.yaml").write_text(yaml.safe_dump({"domains": {"events": entry}}))
    monkeypatch.setenv("DOMAINS_FILE", str(tmp_path / "domains.yaml"))
    settings.cache_clear()
    pdp, day = Operator(bucket.s3), DAY.isoformat()
    prepare(rig, "events")
    rig.settle("events")

    shown = pdp(Fault.UNAVAILABLE, "partitions", "show", "events", day)
    assert shown["partition"]["status"] == "DONE"
    pdp(Fault.REPLY_LOST, "quarantine", "replay", "events")
    rig.settle("events")
    pdp(Fault.RESET, "partitions", "reset", "events", day)
    rig.settle("events")
    resets = [each.facts["cause"] for each in rig.partitions.history("events", DAY) if each.event == "reset"]
    assert resets == ["quarantine replay", "reset"]
    rig.assert_clean("events", undisturbed.rows["events"])

    for fault in (Fault.RESET, Fault.REPLY_LOST):
        done = {each["table"]: each for each in pdp(fault, "maintain", "events")["tables"]}
        assert done["silver/events"]["files"] == 1
    assert any("checkpoint" in file.path for file in log_of(rig.lake, "silver/events"))
    rig.assert_clean("events", undisturbed.rows["events"])


USER = 7


class KafkaWithoutThePerson:
    """The topics of an erasure whose person is in no record of Kafka."""

    @staticmethod
    def of_dead_letters(holder: Holder) -> tuple[str, ...]:
        return ()

    @staticmethod
    def count(topic: str, holder: Holder) -> TopicRecords:
        return TopicRecords(topic, 0, 0, {}, {}, {})


class Killed(BaseException):
    """Ends an erasure as a signal does: nothing of it goes on."""


def killed_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """Let the process die after a function's call of this number."""
    original, calls = getattr(owner, name), Counter[str]()

    def called(*arguments: Any, **options: Any) -> Any:
        calls[name] += 1
        result = original(*arguments, **options)
        if calls[name] == call:
            raise Killed(name)
        return result

    monkeypatch.setattr(owner, name, called)


def test_an_erasure_that_is_killed_at_each_step_while_replies_are_lost(bucket, rig, monkeypatch):
    """Everybody else's rows are as they were, the person's are nowhere, and the audit believes each erased offset.

    The end, which changes tables' properties, goes past the proxy, see `Operator`.
    """
    prepare(rig, "events")
    rig.settle("events")
    before, domain = rig.silver("events"), rig.catalog["events"]
    held = holders(Catalog([domain]), "user", str(USER))
    assert any(row["user_id"] == USER for row in before)

    def erase(lake: Lake) -> Outcome:
        topics: Any = KafkaWithoutThePerson()
        return Erasure(
            settings(),
            lake,
            rig.partitions,
            topics,
            kind="user",
            held=held,
            operator="test",
            clock=SystemClock(),
            progress=print,
        ).run()

    def erased() -> Outcome:
        for _ in range(10):
            with suppress(TransientError):
                return erase(rig.lake)
        raise AssertionError("the store fails an erasure for good")

    for owner, step, call in (
        (bronze, "rewrite", 2), (ErasureLedger, "record", 1), (rig.partitions, "apply", 1), (bronze, "delete", 2),
    ):  # fmt: skip
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, owner, step, call)
            bucket.s3.strike(Fault.REPLY_LOST)
            erased()
    bucket.s3.strike(Fault.REPLY_LOST)
    outcome = erased()
    assert [state for _, _, state in outcome.waiting] == [State.PENDING] and not outcome.complete
    bucket.s3.calm()
    rig.settle("events")
    outcome = erase(Lake(settings_of({**bucket.direct, "LAKE_URI": rig.lake.root})))
    assert outcome.complete, outcome.after.lines
    assert rig.silver("events") == [row for row in before if row["user_id"] != USER]
    rig.assert_clean("events", {})
    in_bronze = [
        row for file in rig.lake.list_date(domain, DAY)
        for row in pq.read_table(rig.lake.path(file.name), filesystem=rig.lake.filesystem).to_pylist()
    ]  # fmt: skip
    assert in_bronze and all(row["user_id"] != USER for row in in_bronze)


def log_of(lake: Lake, table: str) -> list[pafs.FileInfo]:
    """Return what is in a table's log."""
    return lake.filesystem.get_file_info(pafs.FileSelector(lake.path(f"{table}/_delta_log")))  # type: ignore[no-any-return]
