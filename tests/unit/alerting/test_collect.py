"""What is an alert, what it says, and that its key stays the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from alerting import collect
from alerting.collect import FailedRun
from audit.offset_coverage.state import Gap
from platform_core.lake.alerts import AlertKind
from platform_core.partitions.freshness import Freshness
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_state import Event, State
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 21, 6, 5, tzinfo=UTC)
UI = "http://ui.test"
RUN = "0a1b2c3d-0000-0000-0000-000000000000"
GAP = Gap("orders", "raw-orders", 2, 100, 119, NOW, still_in_kafka=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def meta(clock: FakeClock) -> InMemoryPartitionMeta:
    return InMemoryPartitionMeta(clock)


def fail(
    meta: InMemoryPartitionMeta, day: date = DAY, error: str = "ValueError", message: str = "no such column"
) -> None:
    known = meta.get("orders", day)
    first = [] if known else [Change("orders", day, State.UNDISCOVERED, Event.FILES_FOUND)]
    meta.apply(
        [
            *first,
            Change("orders", day, State.PENDING, Event.RUN_STARTED, run_id=RUN, set={"run_id": RUN}),
            Change(
                "orders",
                day,
                State.IN_FLIGHT,
                Event.RUN_FAILED,
                run_id=RUN,
                set={"error_message": f"{error}: {message}"},
                detail={"error": error},
            ),
        ]
    )


def give_up(meta: InMemoryPartitionMeta, day: date = DAY) -> None:
    cause = {"cause": "ValueError: no such column"}
    meta.apply([Change("orders", day, State.FAILED, Event.RETRIES_EXHAUSTED, detail=cause)])


def test_a_dead_date_says_what_happened_where_and_what_to_type(meta: InMemoryPartitionMeta) -> None:
    fail(meta)
    assert collect.dead_alerts(meta.rows(), meta.history(), UI) == []
    give_up(meta)
    [alert] = collect.dead_alerts(meta.rows(), meta.history(), UI)
    assert (alert.kind, alert.domain, alert.partition_date, alert.at) == (AlertKind.DEAD, "orders", DAY, NOW)
    assert alert.key == f"dead:orders:2026-11-20:{NOW.isoformat()}"
    assert "no such column" in alert.what
    assert alert.where == f"orders, 2026-11-20, run {RUN}, {UI}/runs/{RUN}"
    assert alert.command == "pdp partitions revive orders 2026-11-20"


def test_rows_and_history_alone_give_the_same_key(meta: InMemoryPartitionMeta) -> None:
    fail(meta)
    give_up(meta)
    [by_row] = collect.dead_alerts(meta.rows(), [], UI)
    [by_history] = collect.dead_alerts([], meta.history(), UI)
    assert by_row.key == by_history.key


def test_a_date_that_dies_twice_is_two_alerts(meta: InMemoryPartitionMeta, clock: FakeClock) -> None:
    fail(meta)
    give_up(meta)
    clock.advance(minutes=1)
    meta.apply([Change("orders", DAY, State.DEAD, Event.RESET)])
    [revived] = collect.dead_alerts(meta.rows(), meta.history(), UI)
    fail(meta)
    give_up(meta)
    keys = [alert.key for alert in collect.dead_alerts(meta.rows(), meta.history(), UI)]
    assert len(keys) == len(set(keys)) == 2
    assert revived.key in keys


def test_a_dead_status_written_by_sql_is_seen_without_history() -> None:
    [alert] = collect.dead_alerts([Partition("orders", DAY, State.DEAD)], [], UI)
    assert alert.where == f"orders, 2026-11-20, {UI}/assets/snowflake/orders"


def test_only_a_blocking_check_is_a_failed_check(meta: InMemoryPartitionMeta) -> None:
    fail(meta)
    assert collect.check_alerts(meta.rows(), meta.history(), UI) == []
    fail(meta, DAY + timedelta(days=1), collect.BLOCKING_CHECK, "silver/orders `unique_key`")
    [alert] = collect.check_alerts(meta.rows(), meta.history(), UI)
    assert (alert.kind, alert.partition_date) == (AlertKind.CHECK_FAILED, date(2026, 11, 21))
    assert "unique_key" in alert.what
    assert alert.command == "pdp partitions show orders 2026-11-21"
    assert RUN in alert.where


def test_the_names_of_errors_are_those_that_runs_raise() -> None:
    from platform_core.errors import ServiceDownError
    from processing.one_date import BlockingCheckFailedError

    assert BlockingCheckFailedError.__name__ == collect.BLOCKING_CHECK
    assert ServiceDownError.__name__ == collect.OUTAGE


def test_a_missed_deadline_is_one_alert_a_date_however_late_it_gets() -> None:
    def missing(minutes: int) -> Freshness:
        late = timedelta(minutes=minutes)
        return Freshness("orders", DAY, NOW, delivered=False, late_by=late, newest_done=date(2026, 11, 18))

    [alert] = collect.sla_alerts([missing(1)], UI)
    assert [alert] == collect.sla_alerts([missing(500)], UI)
    assert (alert.key, alert.kind, alert.at) == ("sla_missed:orders:2026-11-20", AlertKind.SLA_MISSED, NOW)
    assert "2026-11-18" in alert.what
    assert alert.command == "pdp partitions show orders 2026-11-20"
    fresh = Freshness("orders", DAY, NOW, delivered=True, late_by=timedelta(0), newest_done=DAY)
    nothing_due = Freshness("orders", None, None, delivered=False, late_by=timedelta(0), newest_done=None)
    assert collect.sla_alerts([fresh, nothing_due], UI) == []


def test_a_failed_run_names_the_dates_that_failed_in_it(meta: InMemoryPartitionMeta) -> None:
    days = tuple(DAY + timedelta(days=n) for n in range(7))
    fail(meta, days[1])
    fail(meta, days[4])
    run = FailedRun(RUN, "data_pipeline_orders", "orders", days, NOW)
    [alert] = collect.run_alerts([run], meta.history(), UI)
    assert alert.what == "Run 0a1b2c3d of `orders` failed: 2 dates of 7 failed, 2026-11-21, 2026-11-24."
    assert (alert.key, alert.partition_date, alert.at) == (f"run_failed:{RUN}", None, NOW)
    assert alert.command == "pdp partitions list orders --from 2026-11-21 --to 2026-11-24"


def test_a_run_that_died_before_any_date_names_all_of_its_dates() -> None:
    days = tuple(DAY + timedelta(days=n) for n in range(7))
    [alert] = collect.run_alerts([FailedRun(RUN, "job", "orders", days, NOW)], [], UI)
    assert "2026-11-20 to 2026-11-26" in alert.what
    [single] = collect.run_alerts([FailedRun(RUN, "job", "orders", days[:1], NOW)], [], UI)
    assert (single.partition_date, single.command) == (DAY, "pdp partitions show orders 2026-11-20")
    [other] = collect.run_alerts([FailedRun(RUN, "cleanup", None, (), NOW)], [], UI)
    assert "cleanup" in other.what
    assert other.command == "pdp partitions list"


def test_an_offset_gap_names_the_offsets() -> None:
    alert = collect.offset_gap_alert(GAP, UI)
    assert (alert.kind, alert.domain, alert.key) == (
        AlertKind.OFFSET_GAP,
        "orders",
        "offset_gap:raw-orders:2:100-119",
    )
    assert "20 offsets of `raw-orders` partition 2, 100 to 119" in alert.what
    assert alert.command == "pdp offsets reset --topic raw-orders --partition 2 --to-offset 100"
    assert "stop every sink" in alert.what
    assert f"{UI}/assets/bronze/orders" in alert.where
    dropped = collect.offset_gap_alert(replace(GAP, still_in_kafka=False), UI)
    assert dropped.key == alert.key
    assert "Retention has dropped" in dropped.what and "offsets reset" not in dropped.command


def test_an_outage_is_one_alert_a_day_whoever_meets_it(meta: InMemoryPartitionMeta) -> None:
    down = "platform_core.errors.ServiceDownError: The engine does not answer at 127.0.0.1:15002 (SPARK_REMOTE)."
    ended = [NOW + timedelta(minutes=n) for n in (0, 5, 24 * 60)]
    domains = ("orders", "users")
    runs = [FailedRun(f"r{n}", "job", name, (DAY,), at, down) for n, at in enumerate(ended) for name in domains]
    alerts = collect.run_alerts(runs, [], UI)
    assert len({alert.key for alert in alerts}) == 2
    assert all(down in alert.what for alert in alerts)
    fail(meta, DAY, "WarehouseUnavailableError")
    lines = [replace(t, detail='{"error": "WarehouseUnavailableError", "service_down": true}') for t in meta.history()]
    loads = [FailedRun(RUN, "job", "orders", (DAY,), at) for at in ended[:2]]
    assert len({alert.key for alert in collect.run_alerts(loads, lines, UI)}) == 1
    assert len({alert.key for alert in collect.run_alerts(loads, meta.history(), UI)}) == 1, "the same run"
    other = replace(loads[0], run_id="other")
    assert len({alert.key for alert in collect.run_alerts([*loads, other], meta.history(), UI)}) == 2


def test_a_status_that_is_none_is_an_alert_of_its_own() -> None:
    illegal = Partition("orders", DAY, State.ILLEGAL, error_message="Its status is `done`.")
    [alert] = collect.illegal_alerts([illegal, Partition("users", DAY, State.DONE)], UI)
    assert alert.kind is AlertKind.ILLEGAL_STATUS and "`done`" in alert.what
    assert alert.command == "pdp partitions reset orders 2026-11-20"


def test_files_that_are_gone_are_named_and_other_ones_are_another_alert() -> None:
    one = collect.missing_files_alert("orders", DAY, ["a", "b"], NOW, UI)
    assert "`a` and 1 more" in one.what and one.kind is AlertKind.FILE_MISSING
    assert one.command == "pdp partitions reset orders 2026-11-20 --accept-loss"
    assert one.key == collect.missing_files_alert("orders", DAY, ["a", "b"], NOW + timedelta(hours=1), UI).key
    assert one.key != collect.missing_files_alert("orders", DAY, ["a", "c"], NOW, UI).key
