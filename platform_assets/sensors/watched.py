"""What the watching sensors have in common: a check's outcome for a domain, and the memory of what was told.

A sensor tells Dagster of an outcome when it changes, and every quarter of an hour: the UI counts a check only when it
was evaluated after the asset's latest materialization. What is judged belongs to `watch` and `coverage_watch`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

REPEAT = timedelta(minutes=15)
"""An outcome that stays is told again this often."""


@dataclass(frozen=True)
class Outcome:
    """One check of one asset at one moment.

    Attributes:
        asset_key: The asset.
        name: The check.
        passed: Whether it holds.
        description: The result in a sentence.
        facts: What was compared, for the UI.
        signature: What makes it another outcome than before, besides passing or not.
    """

    asset_key: dg.AssetKey
    name: str
    passed: bool
    description: str
    facts: dict[str, Any]
    signature: str = ""

    @property
    def id(self) -> str:
        """Its name in the memory."""
        return f"{self.asset_key.to_user_string()}:{self.name}"

    @property
    def state(self) -> str:
        """What is remembered of it."""
        return f"{'passed' if self.passed else 'failed'} {self.signature}".strip()

    def result(self) -> dg.AssetCheckResult:
        """Return what the check's own run yields."""
        return dg.AssetCheckResult(**self._reported)

    def evaluation(self) -> dg.AssetCheckEvaluation:
        """Return what a sensor reports."""
        return dg.AssetCheckEvaluation(**self._reported, blocking=False)

    @property
    def _reported(self) -> dict[str, Any]:
        return {
            "asset_key": self.asset_key,
            "check_name": self.name,
            "passed": self.passed,
            "severity": dg.AssetCheckSeverity.ERROR,
            "description": self.description,
            "metadata": self.facts,
        }


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
