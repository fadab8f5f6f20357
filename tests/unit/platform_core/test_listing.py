"""Which dates a tick lists: what it is told, what waits, what is new, and a slice of the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from platform_core.lake.bronze_compaction import UnreadableNoteError
from platform_core.lake.lake import BronzeFile
from platform_core.partitions.listing import (
    CERTAIN_BUDGETS,
    FILES_A_REQUEST,
    DiscoveryCursor,
    Listing,
    list_bronze,
    to_relist,
)
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

FIRST = date(2023, 11, 1)
YEARS = [FIRST + timedelta(days=n) for n in range(3 * 365)]
FILES_A_DAY = 1440
BUDGET = 10_000


FILES = [BronzeFile(f"part-{n:04}.parquet", 9, datetime(2026, 11, 1, tzinfo=UTC)) for n in range(FILES_A_DAY)]


class Bronze:
    """Three years of a domain, 1,440 files a day or others; it notes which dates were asked for."""

    def __init__(self, files: list[BronzeFile] = FILES) -> None:
        self.asked: list[date] = []
        self.files = files

    def __call__(self, day: date) -> list[BronzeFile]:
        self.asked.append(day)
        return self.files


def done(days: list[date]) -> dict[date, Partition]:
    return {day: Partition("events", day, State.DONE) for day in days}


def test_dates_of_which_nobody_knows_the_files_stop_no_other_and_are_asked_for_again() -> None:
    bronze = Bronze()

    def list_date(day: date) -> list[BronzeFile]:
        if day in (YEARS[0], YEARS[-1]):
            raise UnreadableNoteError("somebody has changed it")
        return bronze(day)

    listing = list_bronze(list_date, YEARS, done(YEARS), [], [YEARS[0], YEARS[1]], None, BUDGET)
    assert set(listing.unclear) == {YEARS[0], YEARS[-1]}
    assert listing.unlisted == {YEARS[0]} and listing.bronze.keys() >= {YEARS[1], YEARS[-2], YEARS[-3]}


def test_a_tick_over_three_years_lists_only_its_slice() -> None:
    bronze = Bronze()
    listing = list_bronze(bronze, YEARS, done(YEARS), [], [], None, BUDGET)
    assert listing.files < BUDGET + FILES_A_DAY
    assert bronze.asked == sorted(YEARS, reverse=True)[: len(bronze.asked)]


def test_the_slices_of_a_day_cover_the_whole_history() -> None:
    rows, swept, seen, ticks = done(YEARS), None, set[date](), 0
    while len(seen) < len(YEARS):
        bronze = Bronze()
        listing = list_bronze(bronze, YEARS, rows, [], [], swept, BUDGET)
        swept = listing.swept
        seen.update(bronze.asked)
        ticks += 1
        assert ticks < 2880, "a tick every 30 s for a day"
    assert ticks == -(-len(YEARS) // 7)  # seven days of 1,440 files reach the budget


def test_a_quiet_tick_makes_as_many_requests_after_years_of_small_dates_as_after_a_month() -> None:
    asked = []
    for days in (YEARS[-30:], YEARS):
        bronze = Bronze(files=FILES[:1])
        list_bronze(bronze, days, done(days), [], [], None, BUDGET)
        asked.append(len(bronze.asked))
    assert asked == [BUDGET // FILES_A_REQUEST] * 2


def test_what_is_announced_is_listed_however_old() -> None:
    old = YEARS[5]
    bronze = Bronze()
    listing = list_bronze(bronze, YEARS, done(YEARS), [], [old], YEARS[500], BUDGET)
    assert bronze.asked[0] == old
    assert old in listing.bronze
    assert not listing.unlisted


def test_waiting_and_unknown_dates_are_listed_without_an_announcement() -> None:
    known = YEARS[:-1]
    listing = list_bronze(Bronze(), YEARS, done(known), [YEARS[3]], [], YEARS[900], BUDGET)
    assert {YEARS[3], YEARS[-1]} <= set(listing.bronze)


def test_an_announced_date_without_a_folder_is_no_error() -> None:
    gone = FIRST - timedelta(days=1)
    listing = list_bronze(Bronze(), YEARS[:2], done(YEARS[:2]), [], [gone], None, BUDGET)
    assert gone not in listing.bronze
    assert not listing.unlisted


def test_a_flood_of_announcements_is_worked_off_over_several_ticks() -> None:
    announced: frozenset[date] = frozenset(YEARS)
    rows, ticks = done(YEARS), 0
    while announced:
        listing = list_bronze(Bronze(), YEARS, rows, [], announced, None, BUDGET)
        assert listing.files <= BUDGET * (CERTAIN_BUDGETS + 1) + 2 * FILES_A_DAY
        announced = to_relist(listing, announced, rows, [])
        ticks += 1
        assert ticks < 100
    assert ticks > 1


def test_a_date_in_flight_is_looked_at_again() -> None:
    day = YEARS[0]
    rows = {day: Partition("events", day, State.IN_FLIGHT)}
    assert to_relist(Listing(bronze={day: []}), [day], rows, []) == {day}
    rows = {day: Partition("events", day, State.DONE)}
    assert to_relist(Listing(bronze={day: []}), [day], rows, []) == set()
    assert to_relist(Listing(bronze={day: []}), [], rows, [day]) == {day}


def test_the_cursor_survives_a_round_trip_and_rubbish() -> None:
    cursor = DiscoveryCursor({0: 12, 3: 7}, frozenset({YEARS[0]}), YEARS[9])
    assert DiscoveryCursor.from_json(cursor.to_json()) == cursor
    for rubbish in (None, "", "[]", "{", '{"swept": 3}', '{"ledger": {"x": 1}}', '{"watched": []}'):
        assert DiscoveryCursor.from_json(rubbish) == DiscoveryCursor()
