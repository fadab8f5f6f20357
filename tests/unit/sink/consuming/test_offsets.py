from __future__ import annotations

import pytest

from sink.consuming.offsets import Offsets, lowest

TP, OTHER = ("t", 0), ("t", 1)


@pytest.fixture
def offsets():
    offsets = Offsets()
    offsets.assign([TP])
    return offsets


def test_nothing_is_committable_of_a_partition_that_was_not_read(offsets):
    assert offsets.committable({}) == {} and offsets.positions == {} and list(offsets.owned) == [TP]


def test_a_pending_offset_holds_the_commit_back(offsets):
    for offset in range(3, 8):
        assert offsets.advance(TP, offset)
    assert offsets.committable({TP: 5}) == {TP: 5}
    assert offsets.committable({TP: 3}) == {}, "the group starts at 3: it is committed"
    assert offsets.committable({OTHER: 0}) == {TP: 8}


def test_a_commit_never_goes_back(offsets):
    offsets.advance(TP, 0)
    offsets.committed({TP: 1})
    assert offsets.committable({TP: 0}) == {} and offsets.committable({}) == {}
    offsets.advance(TP, 1)
    assert offsets.committable({}) == {TP: 2} and offsets.last_committed == {TP: 1}


def test_the_end_of_a_partition_passes_transaction_markers(offsets):
    offsets.advance(TP, 0)
    offsets.reached(TP, 5)
    offsets.reached(TP, 3)
    offsets.reached(OTHER, 9)
    assert offsets.positions == {TP: 5} and offsets.committable({}) == {TP: 5}


def test_a_record_of_a_partition_that_is_not_owned_is_not_taken(offsets):
    assert not offsets.advance(OTHER, 0)
    offsets.advance(TP, 0)
    offsets.revoke([TP])
    assert not offsets.advance(TP, 1) and offsets.committable({}) == {} and offsets.last_committed == {}


def test_a_recreated_topic_is_committed_from_its_start(offsets):
    offsets.advance(TP, 100)
    offsets.committed({TP: 101})
    offsets.advance(TP, 0)
    assert offsets.committable({}) == {TP: 1}


def test_an_assignment_forgets_what_was_known(offsets):
    offsets.advance(TP, 7)
    offsets.committed({TP: 8})
    offsets.assign([TP])
    assert offsets.positions == {} and offsets.last_committed == {}


def test_the_lowest_of_each_partition_wins():
    assert lowest({TP: 3, OTHER: 1}, {}, {TP: 2}) == {TP: 2, OTHER: 1}
