"""Which date must be delivered by now, and whether it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from platform_core.domain.catalog import Domain, load_catalog
from platform_core.partitions.freshness import deadline_of, freshness
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY

OLD, BEFORE, YESTERDAY = date(2026, 11, 1), date(2026, 11, 18), date(2026, 11, 19)
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
DEADLINE = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def domain() -> Domain:
    orders = load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]
    return orders.model_copy(update={"sla_deadline": time(6, 30), "start_date": date(2026, 10, 1)})


def row(day: date, status: State = State.DONE, processed_at: datetime | None = None, name: str = "orders") -> Partition:
    return Partition(name, day, status, created_at=BEGAN, processed_at=processed_at)


def test_the_deadline_is_on_the_next_day(domain: Domain) -> None:
    assert deadline_of(domain, YESTERDAY) == DEADLINE


def test_before_the_deadline_the_day_before_yesterday_is_due(domain: Domain) -> None:
    found = freshness(domain, [row(OLD), row(BEFORE), row(YESTERDAY, State.PENDING)], DEADLINE - timedelta(seconds=1))
    assert (found.due, found.fresh, found.late_by) == (BEFORE, True, timedelta(0))
    assert found.newest_done == BEFORE


def test_from_the_deadline_on_yesterday_is_due_and_lateness_counts_from_it(domain: Domain) -> None:
    rows = [row(OLD), row(BEFORE), row(YESTERDAY, State.IN_FLIGHT)]
    assert freshness(domain, rows, DEADLINE).due == YESTERDAY
    found = freshness(domain, rows, DEADLINE + timedelta(minutes=12))
    assert not found.fresh
    assert (found.deadline, found.late_by, found.newest_done) == (DEADLINE, timedelta(minutes=12), BEFORE)
    assert freshness(domain, [*rows[:2], row(YESTERDAY)], DEADLINE + timedelta(minutes=12)).fresh


def test_a_date_that_has_no_row_is_missing(domain: Domain) -> None:
    found = freshness(domain, [row(OLD)], DEADLINE)
    assert (found.due, found.fresh) == (YESTERDAY, False)


def test_a_backfill_of_an_old_date_does_not_make_it_fresh(domain: Domain) -> None:
    just_now = DEADLINE + timedelta(hours=1)
    found = freshness(domain, [row(OLD, processed_at=just_now), row(YESTERDAY, State.DEAD)], just_now)
    assert not found.fresh


@pytest.mark.parametrize("status", [State.LATE, State.REPROCESSING, State.IN_FLIGHT, State.RETRYING, State.PENDING])
def test_a_correction_under_way_does_not_take_the_delivery_back(domain: Domain, status: State) -> None:
    delivered = row(YESTERDAY, status, processed_at=DEADLINE - timedelta(minutes=5))
    assert freshness(domain, [row(OLD), delivered], DEADLINE + timedelta(hours=3)).fresh
    never = row(YESTERDAY, status)
    assert not freshness(domain, [row(OLD), never], DEADLINE + timedelta(hours=3)).fresh


def test_nothing_is_due_without_rows_before_the_start_or_before_the_first_row(domain: Domain) -> None:
    for rows, start in (
        ([], domain.start_date),
        ([row(YESTERDAY + timedelta(days=1), State.PENDING)], domain.start_date),
        ([row(OLD)], YESTERDAY + timedelta(days=1)),
    ):
        found = freshness(domain.model_copy(update={"start_date": start}), rows, DEADLINE)
        assert (found.due, found.fresh) == (None, True)


def test_an_installation_is_not_late_for_a_deadline_before_its_first_row(domain: Domain) -> None:
    installed = DEADLINE + timedelta(hours=2)
    rows = [Partition("orders", day, State.PENDING, created_at=installed) for day in (OLD, BEFORE, YESTERDAY)]
    assert freshness(domain, rows, installed + timedelta(minutes=1)).fresh
    next_deadline = DEADLINE + timedelta(days=1)
    assert freshness(domain, rows, next_deadline).due == YESTERDAY + timedelta(days=1)
    assert not freshness(domain, rows, next_deadline).fresh


def test_rows_of_other_domains_do_not_count(domain: Domain) -> None:
    assert not freshness(domain, [row(OLD), row(YESTERDAY, name="events")], DEADLINE).fresh


def test_a_moment_in_another_time_zone_is_the_same_moment(domain: Domain) -> None:
    from zoneinfo import ZoneInfo

    rows = [row(OLD), row(BEFORE)]
    assert freshness(domain, rows, DEADLINE.astimezone(ZoneInfo("Pacific/Auckland"))).due == YESTERDAY
