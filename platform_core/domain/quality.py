"""The gate between counting a date's bad rows and publishing the date: which thresholds of domains.yaml are broken.

Only arithmetic on counts lives here. Counting belongs to the Spark job, which asks before it replaces Silver; showing
the outcome belongs to the asset checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from platform_core.domain.catalog import OnFailure, Quality, Volume

MIN_DAYS = 3
"""A median of fewer days says nothing about the next one."""


def refusals(quality: Quality, records: int, quarantined: Mapping[str, int]) -> list[str]:
    """Return why a date must not be published, one sentence each; empty when it may.

    Args:
        quality: The domain's rules and thresholds.
        records: The date's records, without the copies of at-least-once delivery.
        quarantined: Bad records by the first rule that they break.
    """
    reasons = refused_rules(quality, records, quarantined)
    ratio = ratio_of(sum(quarantined.values()), records)
    if ratio > quality.max_quarantined_ratio:
        reasons.append(f"{ratio:.2%} of the records are bad, {quality.max_quarantined_ratio:.2%} are allowed")
    return reasons


def refused_rules(quality: Quality, records: int, quarantined: Mapping[str, int]) -> list[str]:
    """Return which rules with `on_failure: fail` more records break than their `max_ratio` allows."""
    return [
        f"rule `{rule.name}`: {quarantined[rule.name]} of {records} records break it, {rule.max_ratio:.2%} may"
        for rule in quality.rules
        if rule.on_failure is OnFailure.FAIL and ratio_of(quarantined.get(rule.name, 0), records) > rule.max_ratio
    ]


def ratio_of(part: int, whole: int) -> float:
    """Return part / whole, and 0 of nothing."""
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class VolumeVerdict:
    """How a date's rows compare with the days before it.

    Attributes:
        usual: Median rows of those days; None when there are fewer than three.
        ratio: Rows / usual.
        normal: Whether the ratio lies within the thresholds; True when there is nothing to compare with.
    """

    usual: float | None
    ratio: float | None
    normal: bool


def volume_verdict(limits: Volume, rows: int, before: Sequence[int]) -> VolumeVerdict:
    """Compare a date's rows with the days before it.

    Args:
        limits: The domain's thresholds.
        rows: Silver rows of the date.
        before: Silver rows of the days before it that are DONE, at most `limits.days`.
    """
    if len(before) < MIN_DAYS:
        return VolumeVerdict(None, None, normal=True)
    usual = float(median(before))
    if usual == 0:
        return VolumeVerdict(usual, None, normal=rows == 0)
    ratio = rows / usual
    return VolumeVerdict(usual, round(ratio, 4), normal=limits.min_ratio <= ratio <= limits.max_ratio)
