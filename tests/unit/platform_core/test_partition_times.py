"""The times of a row and of its history, when the hosts that write them have clocks minutes apart."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from platform_core.partitions.partition_meta import Change, Partition, Transition, attempts_since_done, fold
from platform_core.partitions.partition_state import Event, State

NOON, DAY = datetime(2026, 11, 20, 12, tzinfo=UTC), date(2026, 11, 18)
WAY = (
    (State.UNDISCOVERED, Event.FILES_FOUND, "daemon"),
    (State.PENDING, Event.RUN_STARTED, "worker"),
    (State.IN_FLIGHT, Event.RENEWED, "worker"),
    (State.IN_FLIGHT, Event.SUCCEEDED, "worker"),
    (State.DONE, Event.FILES_CHANGED, "daemon"),
    (State.LATE, Event.QUEUED, "daemon"),
    (State.REPROCESSING, Event.RUN_STARTED, "worker"),
)


@pytest.mark.parametrize("minutes_ahead", [-7, 7])
def test_the_history_keeps_its_order_when_the_workers_clock_is_off(minutes_ahead: int) -> None:
    rows: dict[tuple[str, date], Partition] = {}
    history: list[Transition] = []
    for second, (state, event, host) in enumerate(WAY):
        now = NOON + timedelta(seconds=second, minutes=minutes_ahead if host == "worker" else 0)
        changed, lines = fold([Change("events", DAY, state, event, run_id="r", set={"run_id": "r"})], rows, now)
        rows = {(row.domain, row.partition_date): row for row in changed}
        history += lines
    in_order = sorted(history, key=lambda line: line.at)
    assert in_order == history
    assert len({line.at for line in history}) == len(history)
    assert len(attempts_since_done(in_order)) == 1
    assert rows["events", DAY].updated_at == history[-1].at
