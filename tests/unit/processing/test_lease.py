"""A lease is renewed while its run works, and a run that lost it stops before it writes."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from platform_core.clock import SystemClock
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_state import Event, State
from platform_core.partitions.plan import lost_run
from platform_core.settings import Settings
from processing import lease as lease_module
from processing.context import RunContext
from processing.lease import DateTimeoutError, Lease, LeaseLostError
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta

DAY = date(2026, 11, 20)


@pytest.fixture
def meta() -> InMemoryPartitionMeta:
    store = InMemoryPartitionMeta(SystemClock())
    store.apply(
        [
            Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND),
            Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="a", set={"run_id": "a"}),
        ]
    )
    return store


def run(meta: InMemoryPartitionMeta, seconds: float, timeout: float) -> RunContext:
    settings = Settings(partition_lease_seconds=seconds, partition_timeout_seconds=timeout)
    domain = load_catalog(settings.domains_file)["events"]
    return RunContext(settings, Lake(settings), domain, meta, "a", discovered=True)


def renewed_at(meta: InMemoryPartitionMeta) -> datetime:
    row = meta.get("events", DAY)
    assert row is not None
    assert row.updated_at is not None
    return row.updated_at


def test_it_is_renewed_in_the_background_without_a_line_in_the_history(meta: InMemoryPartitionMeta) -> None:
    before = renewed_at(meta)
    with Lease(run(meta, seconds=0.06, timeout=60), DAY, on_lost=lambda: None) as lease:
        deadline = time.monotonic() + 60
        while renewed_at(meta) - before < timedelta(seconds=0.1):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        lease.check()
    assert datetime.now(UTC) - renewed_at(meta) < timedelta(seconds=5)
    assert [t.event for t in meta.history("events", DAY)] == ["files_found", "run_started"]


def test_a_run_whose_date_was_taken_over_is_told_and_refused(
    meta: InMemoryPartitionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "FRESH_SECONDS", 0.0)
    told = threading.Event()
    with Lease(run(meta, seconds=0.06, timeout=60), DAY, on_lost=told.set) as lease:
        row = meta.get("events", DAY)
        assert row is not None
        meta.apply(
            [
                lost_run(row, "its lease expired"),
                Change("events", DAY, State.FAILED, Event.RETRY),
                Change("events", DAY, State.RETRYING, Event.RUN_STARTED, run_id="b", set={"run_id": "b"}),
            ]
        )
        assert told.wait(60)
        with pytest.raises(LeaseLostError, match="Run a lost domain `events` 2026-11-20"):
            lease.check()


def test_the_check_itself_asks(meta: InMemoryPartitionMeta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "FRESH_SECONDS", 0.0)
    with Lease(run(meta, seconds=600, timeout=600), DAY, on_lost=lambda: None) as lease:
        lease.check()
        meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.RESET)])
        with pytest.raises(LeaseLostError):
            lease.check()


def test_the_end_of_the_work_is_no_loss(meta: InMemoryPartitionMeta) -> None:
    lost: list[str] = []
    lease = Lease(run(meta, seconds=0.03, timeout=60), DAY, on_lost=lambda: lost.append("lost"))
    with lease:
        pass
    meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a")])
    time.sleep(0.1)
    assert not lost


def test_a_date_that_takes_too_long_is_given_up(meta: InMemoryPartitionMeta) -> None:
    told = threading.Event()
    with Lease(run(meta, seconds=0.06, timeout=0.2), DAY, on_lost=told.set) as lease:
        assert told.wait(60)
        before = renewed_at(meta)
        time.sleep(0.1)
        assert renewed_at(meta) == before, "its lease may expire now"
        with pytest.raises(DateTimeoutError, match="events` 2026-11-20 took more than 0 s"):
            lease.check()
    assert isinstance(lease.timed_out, DateTimeoutError)
