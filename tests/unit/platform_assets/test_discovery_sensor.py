"""A sensor that finds a date too young waits for it, once, and not for its next tick."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import dagster as dg
import pytest

from platform_assets.assets.bronze import BronzeEvent
from platform_assets.sensors.discovery_sensor import MARGIN_SECONDS, SLOW_LOOK_SECONDS, WAITING_AT_ONCE, once_quiet
from platform_assets.sensors.discovery_tick import Tick
from platform_core.errors import TransientError
from platform_core.partitions.listing import DiscoveryCursor

BEFORE, FIRST, SECOND = (DiscoveryCursor(swept=date(2026, 11, day)) for day in (1, 2, 3))
RUN = dg.RunRequest(run_key="late")
FOUND: list[list[BronzeEvent]] = [[dg.AssetMaterialization("bronze", partition=day)] for day in ("1", "2")]


class Looks:
    """Ticks that are given one after another, with the cursors that they began at and the seconds between them."""

    def __init__(self, *ticks: Tick | Exception) -> None:
        self._ticks = list(ticks)
        self.began: list[DiscoveryCursor] = []
        self.slept: list[float] = []

    def __call__(self, cursor: DiscoveryCursor) -> Tick:
        self.began.append(cursor)
        answer = self._ticks.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def result(looks: Looks, longest: float = 15.0) -> Tick:
    sleep: Callable[[float], None] = looks.slept.append
    return once_quiet(looks, BEFORE, longest, sleep)


def test_a_date_that_has_had_its_quiet_before_the_next_tick_is_launched_by_this_one() -> None:
    looks = Looks(Tick([], FOUND[0], "waits", FIRST, 4.0), Tick([RUN], FOUND[1], "runs", SECOND))
    assert result(looks) == Tick([RUN], [*FOUND[0], *FOUND[1]], "runs", SECOND)
    assert (looks.began, looks.slept) == ([BEFORE, FIRST], [4.0 + MARGIN_SECONDS])


@pytest.mark.parametrize(
    "only",
    [
        Tick([], [], "nothing waits", FIRST),
        Tick([], [], "the next tick comes before", FIRST, 15.1),
        Tick([RUN], [], "a run that waits for no other date", FIRST, 4.0),
        Tick([], [], "a run was faster", None, 4.0),
    ],
    ids=lambda tick: tick.summary,
)
def test_there_is_one_look(only: Tick) -> None:
    looks = Looks(only)
    assert result(looks) == only
    assert looks.slept == []


def test_a_date_that_trickles_is_not_waited_for_again() -> None:
    looks = Looks(Tick([], [], "waits", FIRST, 4.0), Tick([], [], "still waits", SECOND, 9.0))
    assert result(looks).cursor == SECOND
    assert looks.slept == [4.0 + MARGIN_SECONDS]


@pytest.mark.parametrize("second", [TransientError("The store is out."), Tick([], [], "a run was faster", None)])
def test_a_second_look_that_comes_to_nothing_loses_nothing_of_the_first(second: Tick | Exception) -> None:
    looks = Looks(Tick([], FOUND[0], "waits", FIRST, 4.0), second)
    done = result(looks)
    assert (done.bronze, done.cursor) == (FOUND[0], FIRST)


@pytest.mark.parametrize(("took", "looked"), [(SLOW_LOOK_SECONDS, 2), (SLOW_LOOK_SECONDS + 1, 1)])
def test_a_slow_look_is_not_repeated_because_the_tick_must_answer_in_time(took: float, looked: int) -> None:
    looks = Looks(Tick([], [], "waits", FIRST, 4.0), Tick([RUN], [], "runs", SECOND))
    clock = iter([100.0, 100.0 + took])
    once_quiet(looks, BEFORE, 15.0, looks.slept.append, lambda: next(clock))
    assert len(looks.began) == looked


def test_waiting_ticks_leave_threads_to_what_else_is_asked() -> None:
    all_looks: list[Looks] = []

    def wait_beside(_seconds: float = 0.0) -> None:
        """Tick another sensor while this one waits."""
        all_looks.append(Looks(Tick([], [], "waits", FIRST, 4.0), Tick([], [], "still waits", SECOND)))
        once_quiet(all_looks[-1], BEFORE, 15.0, wait_beside)

    for _ in range(2):  # who has waited makes room
        all_looks.clear()
        wait_beside()
        assert [len(looks.began) for looks in all_looks] == [2] * WAITING_AT_ONCE + [1]
