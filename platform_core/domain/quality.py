"""The gate between counting a date's bad rows and publishing the date: which thresholds of domains.yaml are broken.

Only the rules that every domain has and arithmetic on counts live here. Counting belongs to the Spark job, which asks
before it replaces Silver; showing the outcome belongs to the asset checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

from platform_core.domain.catalog import Domain, OnFailure, Quality, Rule, Volume
from platform_core.domain.contract import ColumnType

MIN_DAYS = 3
"""A median of fewer days says nothing about the next one."""


BUILTIN_RULES = ("primary_key_present", "in_partition", "version_not_ahead")
"""A row that breaks one of these is no version of its key: it cannot make an earlier one outdated."""

_MAX_AHEAD_HOURS = 24


def builtin_rules(domain: Domain, day: date) -> list[Rule]:
    """Return the rules that every domain has, under their names in `BUILTIN_RULES`.

    A row has a complete key, it is of the date, and its version is not from a future that would keep every later
    version out.
    """
    keys, timestamp = domain.silver.primary_key, domain.bronze.timestamp_col
    versions = [
        name
        for name in domain.silver.order_by
        if name in domain.contract.by_name and domain.contract.by_name[name].type is ColumnType.TIMESTAMP
    ]
    latest = f"unix_micros(coalesce(`_kafka_timestamp`, `_ingested_at`)) + {_MAX_AHEAD_HOURS * 3_600_000_000}"
    not_ahead = [f"(`{name}` is null or unix_micros(`{name}`) <= {latest})" for name in versions]
    conditions = {
        "primary_key_present": (
            " and ".join(f"`{key}` is not null" for key in keys),
            f"{', '.join(keys)} must not be null",
        ),
        "in_partition": (
            f"to_date(`{timestamp}`) = date'{day.isoformat()}'",
            f"the UTC date of {timestamp} is not the partition's",
        ),
        "version_not_ahead": (
            " and ".join(not_ahead) or "true",
            f"{', '.join(versions)} lies more than {_MAX_AHEAD_HOURS} hours after the record",
        ),
    }
    return [Rule(name=name, expression=expression, reason=reason) for name, (expression, reason) in conditions.items()]


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
