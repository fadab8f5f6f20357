"""A lake on gs:// without an engine: files, folders, tables with several writers, the audit, and a store that says no.

The store is the emulator of `tests.rigs.gcs`. The engines on it are in tests/spark.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from audit.report import Stage
from audit.run import audit
from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.delta_rows import rows_of
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import outage
from platform_core.lake.store import LakeStore
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings
from tests.rigs.gcs.service import RIVAL, GcsService
from tests.rigs.lake.audit_lake import AuditLake
from tests.rigs.settings_of import settings_of

FIRST = date(2026, 11, 1)
ROW = pa.table({"x": [1]})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsService]:
    """One emulator for the module; whoever wrote to it asked for nothing that it had to guess."""
    with GcsService(tmp_path_factory.mktemp("gcs")) as running:
        yield running
        happened = running.happened()
        assert happened.refused == []
        assert happened.overwritten_commits == []


@pytest.fixture
def gcs(service: GcsService) -> Iterator[GcsService]:
    """The emulator, which answers as usual again afterwards."""
    yield service
    service.answer_everything(None)


@pytest.fixture
def settings(gcs: GcsService, tmp_path: Path) -> Settings:
    """Those of a lake of the test's own."""
    return settings_of({**gcs.env(tmp_path.name), "GCS_RETRY_SECONDS": 0.5})


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """As one process opens it."""
    return Lake(settings)


def parquet(rows: int) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": range(rows)}), sink)
    return sink.getvalue()


def in_threads(tasks: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_the_sink_puts_is_found_by_discovery_over_several_pages(lake: Lake, catalog: Catalog) -> None:
    store, domain = LakeStore(lake), catalog["events"]
    days = [FIRST + timedelta(days=number) for number in range(45)]
    for number, day in enumerate(days):
        store.put(f"{lake.bronze_partition(domain, day)}/part-{number}.parquet", parquet(number + 1))
    last = lake.bronze_partition(domain, days[-1])
    for number in range(45, 90):
        store.put(f"{last}/part-{number}.parquet", parquet(1))
    assert lake.list_dates(domain) == days
    assert len(lake.list_date(domain, days[-1])) == 46
    [only] = lake.list_date(domain, days[7])
    assert lake.count_records([only.name]) == 8
    assert lake.list_dates(catalog["users"]) == [] == lake.list_date(domain, date(2020, 1, 1))


def test_a_file_of_the_sink_is_read_back_replaced_and_deleted(lake: Lake) -> None:
    store, name = LakeStore(lake), f"{Lake.sink_journal}/entry.json"
    assert store.read(name) is None and store.list(Lake.sink_journal) == []
    for text in (b"first", b"again", b"x" * 20_000_000):  # the last one is sent in several pieces
        store.put(name, pa.py_buffer(text))
        found = store.read(name)
        assert found is not None and found.to_pybytes() == text
    assert store.list(Lake.sink_journal) == [name]
    store.delete(name)
    store.delete(name)
    assert store.read(name) is None


def test_writers_of_one_table_never_overwrite_each_other(settings: Settings, lake: Lake) -> None:
    table = ContendedTable(lake, "pipeline-metadata/shared", pa.schema([("writer", pa.int64()), ("n", pa.int64())]))
    commits, failures = 12, list[BaseException]()
    # Before they write: a second creation that comes behind a first commit changes the table's metadata, and a commit
    # beside it fails, which the platform's own writers try again and these do not.
    table.open_or_create()

    def write(writer: int) -> None:
        mine = Lake(settings)
        try:
            for n in range(commits):
                row = pa.table({"writer": [writer], "n": [n]})
                write_deltalake(table.uri, row, mode="append", storage_options=mine.storage_options)
        except BaseException as error:
            failures.append(error)

    in_threads([partial(write, writer) for writer in range(3)])
    assert failures == []
    rows = {(row["writer"], row["n"]) for row in table.rows()}
    assert rows == {(writer, n) for writer in range(3) for n in range(commits)}


def test_a_version_that_another_writer_takes_a_moment_earlier_is_left_to_it(gcs: GcsService, lake: Lake) -> None:
    uri, options = lake.uri("table"), lake.storage_options
    write_deltalake(uri, ROW, storage_options=options)
    gcs.precede_commits(f"{lake.path('table').partition('/')[2]}/_delta_log/{1:020}.json")
    write_deltalake(uri, ROW, mode="append", storage_options=options)
    table = lake.delta("table")
    assert [commit["operation"] for commit in reversed(table.history())] == ["WRITE", RIVAL, "WRITE"]
    assert rows_of(lake, table).count_rows() == 2


def test_a_file_of_a_table_that_is_gone_is_no_outage(lake: Lake) -> None:
    write_deltalake(lake.uri("table"), ROW, storage_options=lake.storage_options)
    rows = rows_of(lake, lake.delta("table"))
    assert rows.to_table().equals(ROW)
    lake.filesystem.delete_file(lake.path(f"table/{rows.files[0]}"))
    with pytest.raises(FileNotFoundError) as gone:
        rows.to_table()
    assert outage(gone.value) is None


def test_one_of_the_claims_of_a_date_wins(settings: Settings, lake: Lake) -> None:
    pending = Change("events", FIRST, State.UNDISCOVERED, Event.FILES_FOUND, set={"source_files": ("a",)})
    DeltaPartitionMeta(lake).apply([pending])
    outcomes = dict[str, type[BaseException] | None]()

    def claim(run: str) -> None:
        change = Change("events", FIRST, State.PENDING, Event.RUN_STARTED, run_id=run, set={"run_id": run})
        try:
            DeltaPartitionMeta(Lake(settings)).apply([change])
            outcomes[run] = None
        except BaseException as error:
            outcomes[run] = type(error)

    in_threads([partial(claim, run) for run in ("a", "b", "c")])
    [winner] = [run for run, error in outcomes.items() if error is None]
    assert {error for run, error in outcomes.items() if run != winner} == {StateConflictError}
    row = DeltaPartitionMeta(lake).get("events", FIRST)
    assert row is not None and (row.status, row.run_id) == (State.IN_FLIGHT, winner)


def test_the_audit_of_a_lake_on_gcs_is_that_of_a_folder(gcs: GcsService, tmp_path: Path) -> None:
    reports = []
    for env in (gcs.env(tmp_path.name), {"LAKE_URI": str(tmp_path / "lake")}):
        made = AuditLake(settings_of(env), seed=3).make(days=2, orders=20)
        report = audit(made.settings, made.catalog, made.lake, domains=["orders"], stages={Stage.SILVER, Stage.GOLD})
        assert report.clean, report.problems
        reports.append([(each.stage, each.explained, each.equations) for each in report.summary()])
    assert reports[0] == reports[1]


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_store_that_says_no_is_an_outage_for_every_client(
    gcs: GcsService, lake: Lake, catalog: Catalog, status: int
) -> None:
    store, domain = LakeStore(lake), catalog["events"]
    gcs.answer_everything(status)
    started = time.monotonic()
    for act in (
        lambda: lake.list_dates(domain),
        lambda: lake.list_date(domain, FIRST),
        lambda: store.put("a", pa.py_buffer(b"a")),
        lambda: store.read("a"),
        lambda: lake.delta("table"),
    ):
        with pytest.raises(TransientError):
            act()
    assert time.monotonic() - started < 60, "a client tried far longer than GCS_RETRY_SECONDS"
    gcs.answer_everything(None)
    assert lake.list_dates(domain) == []
