"""The gate's arithmetic: which counts of bad rows refuse a date, and which volume is unusual."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from platform_core.domain.catalog import OnFailure, Quality, Rule, Volume
from platform_core.domain.quality import refusals, volume_verdict

QUARANTINE = Rule(name="known", expression="true")
FAIL = Rule(name="money", expression="true", on_failure=OnFailure.FAIL)
TOLERANT = Rule(name="mostly", expression="true", on_failure=OnFailure.FAIL, max_ratio=0.1)


@pytest.mark.parametrize(
    ("rules", "broken", "refused"),
    [
        ((QUARANTINE,), {"known": 5}, False),
        ((QUARANTINE,), {"known": 6}, True),
        ((FAIL,), {"money": 1}, True),
        ((FAIL, QUARANTINE), {"known": 1}, False),
        ((TOLERANT,), {"mostly": 5}, False),
        ((), {"in_partition": 6}, True),
    ],
)
def test_which_counts_refuse_a_date(rules: tuple[Rule, ...], broken: dict[str, int], refused: bool) -> None:
    assert bool(refusals(Quality(rules=rules, max_quarantined_ratio=0.05), 100, broken)) is refused


def test_the_reason_has_rule_and_numbers() -> None:
    [reason] = refusals(Quality(rules=(FAIL,)), 100, {"money": 1})
    assert reason == "rule `money`: 1 of 100 records break it, 0.00% may"


def test_a_date_without_records_is_not_refused() -> None:
    assert refusals(Quality(rules=(FAIL,)), 0, {}) == []


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="occurs twice"):
        Quality(rules=(FAIL, FAIL))


@pytest.mark.parametrize(
    ("rows", "before", "normal"),
    [
        (100, [100, 100, 100], True),
        (49, [100, 100, 100], False),
        (201, [100, 100, 100], False),
        (0, [100, 100, 100], False),
        (1, [100, 100], True),
        (0, [0, 0, 0], True),
        (5, [0, 0, 0], False),
        (100, [90, 100, 9000], True),
    ],
)
def test_volume_against_the_median(rows: int, before: list[int], normal: bool) -> None:
    assert volume_verdict(Volume(), rows, before).normal is normal
