"""The outcome of a check that watches a whole domain, as a person's run and as a sensor report it.

What is judged belongs to `watch` and `offset_coverage`; when it is reported belongs to `platform_assets.sensors`.
"""

from dataclasses import dataclass
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class ReportedCheck:
    """One check of one asset at one moment.

    Attributes:
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
        """Its name in `LastReported`."""
        return f"{self.asset_key.to_user_string()}:{self.name}"

    @property
    def state(self) -> str:
        """Its state in `LastReported`."""
        return f"{'passed' if self.passed else 'failed'} {self.signature}".strip()

    def result(self) -> dg.AssetCheckResult:
        """Return what a run of the check yields."""
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
