"""Alerts: what a person must know.

The log by which each is delivered once is `alert_log`; deciding what is an alert and carrying it to Kafka or Slack
belongs to `alerting`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class AlertKind(StrEnum):
    """What happened."""

    RUN_FAILED = "RUN_FAILED"
    DEAD = "DEAD"
    SLA_MISSED = "SLA_MISSED"
    CHECK_FAILED = "CHECK_FAILED"
    OFFSET_GAP = "OFFSET_GAP"
    FILE_MISSING = "FILE_MISSING"
    NOTE_UNREADABLE = "NOTE_UNREADABLE"
    ILLEGAL_STATUS = "ILLEGAL_STATUS"
    SENSOR_FAILING = "SENSOR_FAILING"
    LAKE_DOWN = "LAKE_DOWN"
    WATERMARK_HELD_BACK = "WATERMARK_HELD_BACK"
    SOURCE_DOWN = "SOURCE_DOWN"
    SOURCE_CLOCK_STEPPED_BACK = "SOURCE_CLOCK_STEPPED_BACK"
    TOPIC_PAUSED = "TOPIC_PAUSED"
    DOMAIN_BROKEN = "DOMAIN_BROKEN"
    DOMAIN_REMOVED = "DOMAIN_REMOVED"
    TOPIC_UNUSABLE = "TOPIC_UNUSABLE"


@dataclass(frozen=True)
class Alert:
    """One thing that a person must know.

    Attributes:
        key: Identifies the occurrence, so that it is raised once however often it is seen.
        kind: What kind of thing it is.
        domain: The domain; None when a run belongs to none.
        partition_date: The date; None when it is about several or none.
        what: What happened, a sentence or two.
        where: Domain, date, run, and a link into the UI.
        command: What to type next.
        at: When it happened, UTC.
    """

    key: str
    kind: AlertKind
    domain: str | None
    partition_date: date | None
    what: str
    where: str
    command: str
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the alert as JSON values: dates and times in ISO 8601."""
        return {
            **asdict(self),
            "kind": self.kind.value,
            "partition_date": self.partition_date.isoformat() if self.partition_date else None,
            "at": self.at.isoformat(),
        }
