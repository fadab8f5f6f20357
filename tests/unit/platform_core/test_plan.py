"""What one tick decides: new dates, late dates, retries, lost runs, and what is not due yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.lake import BronzeFile
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_meta import Partition, fold
from platform_core.partitions.partition_state import Event, State
from platform_core.partitions.plan import (
    QUEUED_RUNS,
    Ready,
    TickPlan,
    chunks,
    expired_leases,
    failed_by_our_clock,
    plan,
    ready_at,
    waiting,
)
from platform_core.settings import REPOSITORY, Settings
from tests.rigs.fake_clock import FakeClock

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD = NOON - timedelta(hours=3)
SETTINGS = Settings()
ELSEWHERE = [DAY - timedelta(days=1000 + n) for n in range(QUEUED_RUNS)]


@pytest.fixture(scope="module")
def events() -> Domain:
    return load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]


def file(name: str, modified_at: datetime = OLD) -> BronzeFile:
    return BronzeFile(f"bronze/events/event_date={DAY}/{name}.parquet", 10, modified_at)


def row(state: State, files: list[BronzeFile], **columns: object) -> Partition:
    base = Partition(
        "events",
        DAY,
        state,
        run_id="r",
        source_files=tuple(f.name for f in files),
        file_hash=file_hash(f.name for f in files),
        updated_at=OLD,
        created_at=OLD,
    )
    return replace(base, **columns)  # type: ignore[arg-type]


def decide(
    events: Domain,
    files: list[BronzeFile],
    rows: list[Partition],
    now: datetime = NOON,
    *,
    running: bool = False,
    claimed: frozenset[date] = frozenset(),
    expired: frozenset[date] = frozenset(),
) -> TickPlan:
    pinned = {row.partition_date: row.source_files for row in rows}
    return plan(events, {DAY: files}, rows, now, SETTINGS, lambda _: running, claimed, lambda day: pinned[day], expired)


def test_a_new_date_is_pending_and_runs_in_the_same_tick(events: Domain) -> None:
    decided = decide(events, [file("a")], [])
    assert [c.event for c in decided.changes] == [Event.FILES_FOUND]
    assert [(r.day, r.reason) for r in decided.queue] == [(DAY, State.PENDING)]


def test_a_date_waits_until_six_the_next_day(events: Domain) -> None:
    five = datetime(2026, 11, 21, 5, 59, tzinfo=UTC)
    decided = decide(events, [file("a", five - timedelta(hours=1))], [], five)
    assert [c.event for c in decided.changes] == [Event.FILES_FOUND]
    assert not decided.queue


def test_a_date_that_still_grows_waits_for_the_settle_interval(events: Domain) -> None:
    assert not decide(events, [file("a", NOON - timedelta(seconds=5))], []).queue


def test_more_files_make_a_done_date_late_and_queue_it(events: Domain) -> None:
    decided = decide(events, [file("a"), file("b")], [row(State.DONE, [file("a")])])
    assert [c.event for c in decided.changes] == [Event.FILES_CHANGED, Event.QUEUED]
    assert [r.reason for r in decided.queue] == [State.LATE]


def test_listing_order_makes_nothing_late(events: Domain) -> None:
    files = [file("a"), file("b"), file("c")]
    decided = decide(events, files[::-1], [row(State.DONE, files)])
    assert not decided.changes
    assert not decided.queue


def test_late_data_has_no_age_limit(events: Domain) -> None:
    much_later = NOON + timedelta(days=150)
    decided = decide(
        events, [file("a"), file("b", much_later - timedelta(hours=1))], [row(State.DONE, [file("a")])], much_later
    )
    assert [r.day for r in decided.queue] == [DAY]


@pytest.mark.parametrize(
    ("retries", "minutes", "events_expected"),
    [
        (0, 0.5, []),
        (0, 1.1, [Event.RETRY]),
        (2, 3.9, []),
        (2, 4.1, [Event.RETRY]),
        (3, 0.1, [Event.RETRIES_EXHAUSTED]),
    ],
)
def test_a_failed_date_is_retried_after_a_doubling_backoff_then_dead(
    events: Domain, retries: int, minutes: float, events_expected: list[Event]
) -> None:
    failed = row(State.FAILED, [file("a")], retry_count=retries, updated_at=NOON - timedelta(minutes=minutes))
    decided = decide(events, [file("a")], [failed])
    assert [c.event for c in decided.changes] == events_expected
    assert bool(decided.queue) == (events_expected == [Event.RETRY])


def test_a_run_that_died_frees_its_date(events: Domain) -> None:
    held = row(State.IN_FLIGHT, [file("a")], updated_at=NOON - timedelta(seconds=5))
    decided = decide(events, [file("a")], [held], running=False)
    assert [(c.event, c.run_id) for c in decided.changes] == [(Event.RUN_FAILED, "r")]
    assert not decide(events, [file("a")], [held], running=True).changes


def test_an_expired_lease_frees_a_date_whatever_the_orchestrator_says(events: Domain) -> None:
    held = row(State.IN_FLIGHT, [file("a")])
    assert not decide(events, [file("a")], [held], running=True).changes
    [change] = decide(events, [file("a")], [held], running=True, expired=frozenset({DAY})).changes
    assert change.event is Event.RUN_FAILED
    assert "lease expired" in change.set["error_message"]


@pytest.mark.parametrize("minutes_off", [-5, 0, 60])
def test_a_lease_expires_by_the_seconds_of_who_looks_whatever_the_clocks_say(minutes_off: int) -> None:
    limit, cursor, clock = Settings().partition_lease_seconds, DiscoveryCursor(), FakeClock(NOON)

    def look(renewed: float, host: str = "this host's start") -> frozenset[date]:
        nonlocal cursor
        renewed_at = NOON + timedelta(seconds=renewed, minutes=minutes_off)
        rows = [row(State.IN_FLIGHT, [file("a")], updated_at=renewed_at)]
        seen = cursor.sighted(rows, clock.seconds(), host)
        cursor = DiscoveryCursor.from_json(DiscoveryCursor(sightings=seen, sighted_since=host).to_json())
        return expired_leases(rows, seen, clock.seconds(), Settings())

    for n in range(20):
        clock.advance(seconds=30)
        assert not look(30.0 * n - 5), "a lease that is renewed never expires"
    clock.step(hours=-2)
    clock.advance(seconds=limit)
    assert not look(last := 30.0 * 19 - 5)
    assert not look(last, "another host's start"), "whose seconds say nothing here"
    clock.advance(seconds=limit)
    clock.step(hours=9)
    assert not look(last, "another host's start")
    clock.advance(seconds=1)
    assert look(last, "another host's start") == {DAY}


@pytest.mark.parametrize("minutes_off", [-20, 0, 20])
def test_a_backoff_counts_from_when_the_failure_was_seen(events: Domain, minutes_off: int) -> None:
    failed = row(State.FAILED, [file("a")], updated_at=NOON + timedelta(minutes=minutes_off))
    backoff, seen = Settings().partition_retry_backoff_seconds, {DAY: (NOON, 1_000.0)}
    for waited in (0.0, backoff - 1, backoff):
        ours = failed_by_our_clock(failed, seen, NOON, 1_000.0 + waited)
        retried = [c.event for c in plan(events, {}, [ours], NOON, Settings(), lambda _: False).changes]
        assert retried == ([Event.RETRY] if waited == backoff else [])


def test_a_lost_run_is_decided_without_listing_its_date(events: Domain) -> None:
    held = row(State.IN_FLIGHT, [file("a")], updated_at=OLD)
    decided = plan(events, {}, [held], NOON, Settings(), lambda _: False)
    assert [c.event for c in decided.changes] == [Event.RUN_FAILED]


def test_a_done_date_that_still_grows_is_remembered(events: Domain) -> None:
    young = [file("a"), file("b", NOON - timedelta(seconds=5))]
    decided = decide(events, young, [row(State.DONE, [file("a")])])
    assert not decided.changes
    assert decided.unsettled == {DAY}


def test_late_files_of_a_date_that_rested_are_corrected_at_once(events: Domain) -> None:
    grown = [file("a"), file("b", NOON - timedelta(seconds=12))]

    def done(minutes_ago: float) -> Partition:
        return row(State.DONE, [file("a")], processed_at=NOON - timedelta(minutes=minutes_ago))

    assert [r.reason for r in decide(events, grown, [done(11)]).queue] == [State.LATE]
    assert decide(events, grown, [done(9)]).unsettled == {DAY}, "a trickle is not a run a file"
    writing = [file("a"), file("b", NOON - timedelta(seconds=8))]
    decided = decide(events, writing, [done(11)])
    assert (decided.unsettled, decided.quiet_in) == ({DAY}, 2.0)


def test_a_tick_says_when_what_waits_for_quiet_alone_has_had_it(events: Domain) -> None:
    trickling, cap = [file("a", NOON - timedelta(seconds=45))], timedelta(seconds=SETTINGS.partition_settle_max_seconds)
    fresh, nearly = (row(State.PENDING, trickling, updated_at=NOON - age) for age in (timedelta(0), cap * 0.99))
    assert decide(events, trickling, [fresh]).quiet_in == SETTINGS.partition_settle_seconds - 45
    assert decide(events, trickling, [nearly]).quiet_in == pytest.approx(cap.total_seconds() * 0.01)
    assert decide(events, trickling, [fresh], claimed=frozenset({DAY})).quiet_in is None
    assert decide(events, trickling, [fresh], now=ready_at(DAY, SETTINGS) - timedelta(seconds=1)).quiet_in is None
    assert decide(events, [file("a")], [fresh]).quiet_in is None


def test_bronze_that_lost_files_is_never_taken_for_data(events: Domain) -> None:
    made_of = [file("a"), file("b"), file("c")]
    for state in (State.DONE, State.PENDING, State.RETRYING, State.REPROCESSING, State.LATE, State.DEAD):
        for left in ([file("a"), file("d")], []):
            decided = decide(events, left, [row(state, made_of)])
            assert decided.missing == {DAY: sorted({f.name for f in made_of} - {f.name for f in left})}
            assert not decided.changes and not decided.queue, f"{state}: the date keeps what is published"
    assert decide(events, [*made_of, file("d")], [row(State.DONE, made_of)]).missing == {}


def ticks_of_a_day(events: Domain, writes: list[datetime], until: datetime) -> list[datetime]:
    """Tick every 30 s against sinks that write at these times; a run takes no time. Return when runs began."""
    files = [file(str(n), at) for n, at in enumerate(writes)]
    rows: list[Partition] = []
    runs, now = [], writes[0]
    while now < until:
        written = [f for f in files if f.modified_at <= now]
        decided = decide(events, written, rows, now)
        after, _ = fold(decided.changes, {(r.domain, r.partition_date): r for r in rows}, now)
        rows = after[-1:] or rows
        if decided.queue:
            runs.append(now)
            rows = [row(State.DONE, written, updated_at=now, created_at=now, processed_at=now)]
        now += timedelta(seconds=30)
    return runs


@pytest.mark.parametrize(("every", "hours"), [(60, 24), (20, 3)])
def test_a_date_that_never_rests_is_processed_and_corrected_all_the_same(
    events: Domain, every: int, hours: int
) -> None:
    first, six = datetime(2026, 11, 21, 5, tzinfo=UTC), datetime(2026, 11, 21, 6, tzinfo=UTC)
    writes = [first + timedelta(seconds=every * n + n % 7) for n in range(hours * 3600 // every)]
    runs = ticks_of_a_day(events, writes, writes[-1])
    cap = timedelta(seconds=Settings().partition_settle_max_seconds + 60)
    assert runs[0] - six <= cap
    assert len(runs) < len(writes) / 5, "a trickle is not a run a file"
    assert all(later - earlier <= cap + timedelta(seconds=every) for earlier, later in pairwise(runs))


def test_a_store_whose_clock_is_ahead_starves_no_date(events: Domain) -> None:
    writes = [NOON + timedelta(hours=1), NOON + timedelta(hours=1, minutes=1)]
    assert decide(events, [file(str(n), at) for n, at in enumerate(writes)], []).queue


def test_corrections_and_the_newest_date_go_before_the_backlog(events: Domain) -> None:
    def at(day: date, state: State) -> Partition:
        return replace(row(state, [file("a")]), partition_date=day)

    old, older, late = DAY - timedelta(days=300), DAY - timedelta(days=301), DAY - timedelta(days=150)
    rows = [at(older, State.PENDING), at(old, State.PENDING), at(late, State.LATE), at(DAY, State.PENDING)]
    by_day = {r.partition_date: r for r in rows}
    order = waiting(events, by_day, NOON, Settings(), frozenset())
    assert order == [late, DAY, older, old]
    assert waiting(events, by_day, NOON, Settings(run_max_dates=1), {late, *ELSEWHERE[:2]}) == [DAY]
    listed = {day: [file("a")] for day in by_day}
    decided = plan(events, listed, rows, NOON, Settings(), lambda _: False)
    assert [r.day for r in decided.queue] == order
    assert [r.urgent for r in decided.queue] == [True, True, False, False]


@pytest.mark.parametrize("claimed", range(QUEUED_RUNS + 2))
def test_no_more_dates_are_queued_than_the_limit_leaves_and_only_queued_ones_change(
    events: Domain, claimed: int
) -> None:
    days = [DAY - timedelta(days=100 + n) for n in range(QUEUED_RUNS + 2)]
    rows = [replace(row(State.DONE, [file("a")]), partition_date=day) for day in days]
    listed = {day: [file("a"), file("b")] for day in days}
    elsewhere = {DAY - timedelta(days=1000 + n) for n in range(claimed)}
    decided = plan(events, listed, rows, NOON, Settings(run_max_dates=1), lambda _: False, elsewhere)
    queued = sorted(days)[: max(QUEUED_RUNS - claimed, 0)]
    assert [ready.day for ready in decided.queue] == queued
    after = {r.partition_date: replace(r, status=State.LATE) for r in rows}
    assert waiting(events, after, NOON, Settings(run_max_dates=1), elsewhere) == queued, "what must be listed for it"


def test_the_changes_of_a_plan_can_be_stored_in_their_order(events: Domain) -> None:
    def at(days: int, state: State, **columns: object) -> Partition:
        return replace(row(state, [file("a")], **columns), partition_date=DAY - timedelta(days=days))

    rows = [at(1, State.DONE), at(2, State.FAILED), at(3, State.IN_FLIGHT), at(4, State.FAILED, retry_count=99)]
    listed = {DAY - timedelta(days=n): [file("a"), file("b")] for n in range(6)}
    decided = plan(events, listed, rows, NOON, Settings(), lambda _: False)
    after, _ = fold(decided.changes, {(r.domain, r.partition_date): r for r in rows}, NOON)
    assert {(DAY - r.partition_date).days: r.status for r in after} == {
        0: State.PENDING,
        1: State.REPROCESSING,
        2: State.RETRYING,
        3: State.FAILED,
        4: State.DEAD,
        5: State.PENDING,
    }
    assert [(DAY - r.day).days for r in decided.queue] == [1, 0, 5, 2]


def test_a_date_with_a_queued_run_is_not_queued_again(events: Domain) -> None:
    assert not decide(events, [file("a")], [row(State.PENDING, [file("a")])], claimed=frozenset({DAY})).queue


def test_a_queued_date_whose_run_never_started_is_queued_again(events: Domain) -> None:
    decided = decide(events, [file("a")], [row(State.REPROCESSING, [file("a")])])
    assert [r.reason for r in decided.queue] == [State.REPROCESSING]


def test_dead_dates_stay_dead(events: Domain) -> None:
    decided = decide(events, [file("a"), file("b")], [row(State.DEAD, [file("a")])])
    assert not decided.changes
    assert not decided.queue


def test_runs_take_consecutive_dates_of_one_urgency_up_to_the_limit() -> None:
    days = [DAY + timedelta(days=n) for n in (0, 1, 2, 3, 7, 8)]
    queue = [Ready(day, State.PENDING, 0, urgent=day == days[-1]) for day in days]
    assert [[r.day for r in chunk] for chunk in chunks(queue, 3)] == [days[:3], days[3:4], days[4:5], days[5:]]


def test_a_queue_that_one_run_can_take_is_not_split_by_urgency() -> None:
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    queue = [Ready(day, State.PENDING, 0, urgent=day == days[2]) for day in (days[2], days[0], days[1])]
    assert [[r.day for r in chunk] for chunk in chunks(queue, 3)] == [days]
