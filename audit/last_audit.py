"""The outcome of the last whole audit, as one small JSON object in the lake, for whoever watches the platform.

Only what is kept of a report belongs here; printing it belongs to `pdp`, showing its age to `platform_assets.metrics`.
"""

from __future__ import annotations

import logging
from datetime import datetime

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from audit.report import AuditReport, Stage
from platform_core.lake.lake import Lake
from sink.bronze.store import LakeStore

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
    """A whole audit: of every domain, stage and date."""

    at: datetime
    stages: list[StageOutcome]


def outcome(report: AuditReport, at: datetime) -> LastAudit:
    """Return what is kept of a report.

    Args:
        at: When the audit ended, UTC.
    """
    return LastAudit(
        at=at,
        stages=[
            StageOutcome(
                domain=each.domain,
                stage=each.stage,
                problems=len(each.problems) + sum(not equation.adds_up for equation in each.equations),
                checked=not each.not_checked,
            )
            for each in report.summary()
        ],
    )


def save(lake: Lake, report: AuditReport, at: datetime) -> None:
    """Keep the outcome of a whole audit; one that saw nothing is none.

    Raises:
        TransientError: the store did not take it.
    """
    last = outcome(report, at)
    if any(each.checked for each in last.stages):  # otherwise this is hardly the lake: nothing is written into it
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
