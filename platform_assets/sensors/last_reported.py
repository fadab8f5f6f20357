"""Which outcome of each check a sensor reported last, and which alerts it has read: its cursor.

A sensor reports an outcome when it changes, and every quarter of an hour: the UI counts a check only when it
was evaluated after the asset's latest materialization. What is judged belongs to `platform_assets.asset_checks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from platform_assets.asset_checks.reported_check import ReportedCheck

REPEAT = timedelta(minutes=15)
"""An outcome that stays is reported again this often."""


@dataclass(frozen=True)
class LastReported:
    """What was reported last of each check, and how far the topic of alerts was read.

    Attributes:
        states: A check's id to its state, and when it was reported, UTC.
        looked_at: When the last tick looked, UTC; None before the first.
        alert_offsets: Kafka partition of the topic of alerts to the offset to read next.
        lake_seen: Whether the lake was there, so that an empty folder is an outage from then on.
    """

    states: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    looked_at: datetime | None = None
    alert_offsets: Mapping[int, int] = field(default_factory=dict)
    lake_seen: bool = False

    def is_due(self, outcome: ReportedCheck, now: datetime) -> bool:
        """Return whether an outcome must be reported: it changed, or was reported long ago."""
        before = self.states.get(outcome.id)
        return before is None or before[0] != outcome.state or now - before[1] >= REPEAT

    def after(
        self, outcomes: Iterable[ReportedCheck], reported: Iterable[ReportedCheck], now: datetime
    ) -> LastReported:
        """Return the state for the next tick; checks of domains that are gone are dropped."""
        known = {outcome.id for outcome in outcomes}
        kept = {name: before for name, before in self.states.items() if name in known}
        states = {**kept, **{outcome.id: (outcome.state, now) for outcome in reported}}
        return replace(self, states=states, looked_at=now)

    def to_json(self) -> str:
        """Return the state as text."""
        return _STORED.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | None) -> LastReported:
        """Read a stored state; one that cannot be read, of another version say, is as good as none."""
        try:
            return _STORED.validate_json(text or "{}")
        except ValidationError:
            return cls()


_STORED = TypeAdapter(LastReported)
