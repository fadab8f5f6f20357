"""A worker that dies again and again ends nothing but itself, and deaths of weeks are not added up."""

from __future__ import annotations

from infra.embedded.processes.restarts import HEALTHY_SECONDS, LONGEST_PAUSE_SECONDS, Restarts


def test_pauses_grow_while_it_dies_at_once_and_begin_anew_after_a_healthy_while() -> None:
    now = [0.0]
    restarts = Restarts(seconds=lambda: now[0])
    pauses = []
    for _ in range(12):
        pause = restarts.died("sink")
        assert pause is not None
        pauses.append(pause)
        assert restarts.died("sink") is None, "it is dead for as long as it waits, and that is said once"
        assert restarts.due() == []
        now[0] += pause
        assert restarts.due() == ["sink"]
        assert restarts.due() == []
    assert pauses[:4] == [2, 4, 8, 16] and pauses[-1] == LONGEST_PAUSE_SECONDS
    assert restarts.died("shop") == 2, "another process has its own"
    now[0] += HEALTHY_SECONDS + 1
    assert restarts.died("sink") == 2
