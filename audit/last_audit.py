"""The outcome of the last audit, as one small JSON object in the lake, for whoever watches the platform.

Only what is kept of a report belongs here; printing it belongs to `pdp`, showing its age to `platform_assets.metrics`,
and what the next audit of a schedule looks at to `audit.what_changed`.
"""

from __future__ import annotations

import logging
from datetime import datetime

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from audit.report import AuditReport, Stage
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore

log = logging.getLogger(__name__)


class StageOutcome(BaseModel):
    """What one stage of one domain said, over all its dates.

    Attributes:
        problems: How many differences nothing explains; an equation that does not add up is one.
        checked: Whether all of it was looked at.
    """

    domain: str
    stage: Stage
    problems: int
    checked: bool


class LastAudit(BaseModel):
    """An audit of every domain and stage.

    Attributes:
        at: When it ended.
        began_at: When it began; None of an earlier version.
        whole_at: When the last one of every date began.
    """

    at: datetime
    stages: list[StageOutcome]
    began_at: datetime | None = None
    whole_at: datetime | None = None

    def clean(self, domain: str) -> bool:
        """Tell whether everything of a domain was looked at and is explained."""
        stages = [each for each in self.stages if each.domain == domain]
        return bool(stages) and all(each.checked and not each.problems for each in stages)


def outcome(report: AuditReport, at: datetime, began_at: datetime, before: LastAudit | None = None) -> LastAudit:
    """Return what is kept of a report.

    Args:
        at: When the audit ended, UTC.
        began_at: When it began, UTC.
        before: The audit since which it looked; what it left out is as it was then. None of a whole one.
    """
    looked_at = {(each.domain, each.stage) for each in report.results}
    return LastAudit(
        at=at,
        began_at=began_at,
        whole_at=before.whole_at if before else began_at,
        stages=[
            *(each for each in (before.stages if before else ()) if (each.domain, each.stage) not in looked_at),
            *_outcomes(report),
        ],
    )


def _outcomes(report: AuditReport) -> list[StageOutcome]:
    return [
        StageOutcome(
            domain=each.domain,
            stage=each.stage,
            problems=len(each.problems) + sum(not equation.adds_up for equation in each.equations),
            checked=not each.not_checked,
        )
        for each in report.summary()
    ]


def save(lake: Lake, report: AuditReport, at: datetime, *, began_at: datetime, before: LastAudit | None = None) -> None:
    """Keep the outcome of an audit, see `outcome`; a first one that saw nothing is none.

    Raises:
        TransientError: the store did not take it.
    """
    last = outcome(report, at, began_at, before)
    # One that saw nothing, and none was before: this is hardly the lake, and nothing is written into it.
    if before is not None or any(not each.not_checked for each in report.results):
        LakeStore(lake).put(lake.last_audit, pa.py_buffer(last.model_dump_json().encode()))


def load(lake: Lake) -> LastAudit | None:
    """Return the outcome that was kept last, None if there is none that can be read.

    Raises:
        TransientError: the store did not answer.
    """
    stored = LakeStore(lake).read(lake.last_audit)
    try:
        return None if stored is None else LastAudit.model_validate_json(stored.to_pybytes())
    except ValidationError as error:
        log.warning("last_audit_unreadable path=%s errors=%d", lake.last_audit, error.error_count())
        return None
