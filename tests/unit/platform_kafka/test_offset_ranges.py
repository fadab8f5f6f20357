"""OffsetRanges against a plain set of integers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kafka.offset_ranges import OffsetRanges, united

sets = st.frozensets(st.integers(0, 40), max_size=40)
pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


def plain(ranges: OffsetRanges) -> set[int]:
    return {offset for first, last in ranges for offset in range(first, last + 1)}


def is_normal(ranges: OffsetRanges) -> bool:
    ends = [end for pair in ranges for end in pair]
    apart = all(b[0] > a[1] + 1 for a, b in zip(ranges.ranges, ranges.ranges[1:], strict=False))
    return ends == sorted(ends) and apart


@given(pairs)
def test_ranges_in_any_order_are_the_set_of_their_offsets(given_pairs):
    ranges = OffsetRanges.of(*given_pairs)
    expected = {offset for first, last in given_pairs for offset in range(first, last + 1)}
    assert plain(ranges) == expected
    assert is_normal(ranges)
    assert ranges == OffsetRanges.from_offsets(expected)
    assert (ranges.count, bool(ranges)) == (len(expected), bool(expected))
    assert (ranges.first, ranges.last) == (min(expected, default=None), max(expected, default=None))


@given(sets, sets)
def test_set_arithmetic(a, b):
    left, right = OffsetRanges.from_offsets(a), OffsetRanges.from_offsets(b)
    for result, expected in ((left | right, a | b), (left - right, a - b), (left & right, a & b)):
        assert plain(result) == expected
        assert is_normal(result)
    assert all((offset in left) == (offset in a) for offset in range(-2, 50))
    assert "1" not in left


@given(st.lists(st.dictionaries(st.integers(0, 2), sets, max_size=3), max_size=4))
def test_many_sets_are_united_by_partition(given_sets):
    found = united(*({key: OffsetRanges.from_offsets(some) for key, some in each.items()} for each in given_sets))
    expected = {}
    for each in given_sets:
        for key, some in each.items():
            expected[key] = expected.get(key, set()) | some
    assert {key: plain(ranges) for key, ranges in found.items()} == expected
    assert all(is_normal(ranges) for ranges in found.values())


@given(sets, st.integers(-5, 45), st.integers(-5, 45))
def test_gaps_are_what_is_missing_between_two_offsets(a, first, last):
    ranges = OffsetRanges.from_offsets(a)
    assert plain(ranges.gaps(first, last)) == set(range(first, last + 1)) - a


@given(sets)
def test_json_brings_the_same_set_back(a):
    ranges = OffsetRanges.from_offsets(a)
    assert OffsetRanges.from_json(json.loads(json.dumps(ranges.to_json()))) == ranges


def test_json_is_compact():
    assert OffsetRanges.from_offsets([9, 0, 1, 2, 3, 4]).to_json() == [[0, 4], [9, 9]]


@pytest.mark.parametrize("value", [None, {}, "x", [1, 2, 2], [[1]], [[1, "2"]], [[1, True]], [[2, 1]], [[1.0, 2]]])
def test_what_is_not_a_list_of_ranges_is_refused(value):
    with pytest.raises(ValueError):
        OffsetRanges.from_json(value)
