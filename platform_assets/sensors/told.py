"""What a watching sensor remembers: which outcome of each check it told Dagster last.

A sensor tells Dagster of an outcome when it changes, and every quarter of an hour: the UI counts a check only when it
was evaluated after the asset's latest materialization. What is judged belongs to `platform_assets.asset_checks`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from platform_assets.asset_checks.outcome import Outcome

REPEAT = timedelta(minutes=15)
"""An outcome that stays is told again this often."""


@dataclass(frozen=True)
class Told:
    """What Dagster was told last of each check.

    Attributes:
        states: An outcome's id to its state, and when it was told, UTC.
    """

    states: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)

    def must_tell(self, outcome: Outcome, now: datetime) -> bool:
        """Return whether an outcome is news: it changed, or was told long ago."""
        before = self.states.get(outcome.id)
        return before is None or before[0] != outcome.state or now - before[1] >= REPEAT

    def after(self, outcomes: Iterable[Outcome], told: Iterable[Outcome], now: datetime) -> "Told":
        """Return the memory for the next tick; checks of domains that are gone are forgotten."""
        known = {outcome.id for outcome in outcomes}
        kept = {name: before for name, before in self.states.items() if name in known}
        return Told({**kept, **{outcome.id: (outcome.state, now) for outcome in told}})

    def to_json(self) -> str:
        """Return the memory as text."""
        return json.dumps({name: [state, at.isoformat()] for name, (state, at) in self.states.items()})

    @classmethod
    def from_json(cls, text: str | None) -> "Told":
        """Read a stored memory; one that cannot be read, of another version say, is as good as none."""
        try:
            stored = json.loads(text or "{}")
            return cls({str(name): (str(state), datetime.fromisoformat(at)) for name, (state, at) in stored.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()
