from __future__ import annotations

from datetime import date

import pytest

from sink.records.buffer import ROW_OVERHEAD_BYTES, Buffers, SealReason
from tests.rigs.sink.samples import rows_of


def add(buffers: Buffers, topic: str, day: int, offset: int, now: float, *, partition: int = 0, size: int = 10):
    buffers.add(topic, date(2026, 3, day), rows_of((partition, offset, None), size=size), now)


@pytest.fixture
def sealed():
    return []


@pytest.fixture
def buffers(sealed):
    return Buffers(3, 60.0, lambda buffer, reason: sealed.append((buffer, reason)))


def test_each_date_and_topic_has_a_buffer_and_the_third_row_seals_it(buffers, sealed):
    for topic, day, offset in (("t", 1, 0), ("t", 2, 1), ("u", 1, 0), ("t", 1, 2), ("t", 1, 3)):
        add(buffers, topic, day, offset, 100.0)
    ((buffer, reason),) = sealed
    assert (buffer.topic, buffer.day, reason) == ("t", date(2026, 3, 1), SealReason.ROWS)
    assert buffer.rows.offsets == [0, 2, 3]
    assert buffers.rows == 2 and buffers.min_pending_offsets() == {("t", 0): 1, ("u", 0): 0}


def test_a_row_counts_twice_its_value_and_what_it_costs_to_keep(buffers):
    add(buffers, "t", 1, 0, 100.0)
    assert buffers.size == 20 + ROW_OVERHEAD_BYTES


def test_the_age_of_the_first_row_seals(buffers, sealed):
    add(buffers, "t", 1, 0, 100.0)
    add(buffers, "t", 1, 1, 100.0 + 30)
    add(buffers, "t", 2, 2, 100.0 + 30)
    buffers.seal_due(100.0 + 59)
    assert not sealed and buffers.oldest == 100.0
    buffers.seal_due(100.0 + 60)
    assert [(len(buffer.rows), reason) for buffer, reason in sealed] == [(2, SealReason.AGE)]
    assert buffers.oldest == 100.0 + 30


def test_the_largest_are_sealed_until_the_others_fit(buffers, sealed):
    for day, size in ((1, 100), (2, 300), (3, 200)):
        add(buffers, "t", day, day, 100.0, size=size)
    buffers.seal_above(2 * ROW_OVERHEAD_BYTES + 600)
    assert [buffer.day.day for buffer, _ in sealed] == [2] and sealed[0][1] is SealReason.MEMORY
    buffers.seal_above(0)
    assert [buffer.day.day for buffer, _ in sealed] == [2, 3, 1]
    assert (buffers.rows, buffers.size, buffers.oldest) == (0, 0, None)


def test_given_up_partitions_leave_the_rows_of_the_others(buffers, sealed):
    add(buffers, "t", 1, 7, 100.0, partition=0)
    add(buffers, "t", 1, 8, 100.0, partition=1)
    add(buffers, "t", 2, 9, 100.0, partition=1)
    add(buffers, "u", 1, 5, 100.0, partition=1)
    buffers.revoke({("t", 1)})
    assert buffers.rows == 2 and buffers.min_pending_offsets() == {("t", 0): 7, ("u", 1): 5}
    buffers.seal_all()
    assert [(buffer.topic, reason) for buffer, reason in sealed] == [("t", SealReason.DRAIN), ("u", SealReason.DRAIN)]


def test_an_offset_that_went_back_is_what_holds_back(buffers):
    add(buffers, "t", 1, 7, 100.0)
    add(buffers, "t", 1, 2, 100.0)
    assert buffers.min_pending_offsets() == {("t", 0): 2}
