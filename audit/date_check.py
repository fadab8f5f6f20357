"""The audit of a date as the result of an asset check, evaluated by the run that has just loaded it.

Only the conversion lives here; the stages are modules of their own. Kafka → Bronze is not part of it: every committed
offset is compared by `no_offset_gap` (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from audit.dates import unavailable, why
from audit.report import AuditReport, CheckOutcome, StageResult
from audit.stages import bronze_to_silver
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake


def check_audit(
    lake: Lake,
    domain: Domain,
    day: date,
    files: Sequence[str],
    compared: Sequence[StageResult],
    silver: StageResult | None = None,
) -> CheckOutcome:
    """Reconcile one date from its Bronze files to the warehouse.

    Args:
        day: The date, which the caller has claimed.
        files: The Bronze files that the date was made of.
        compared: The stages that the run has compared already, on its way to the warehouse.
        silver: Bronze → Silver, where the run has compared that, too.

    Returns:
        A failure of severity ERROR when something is unexplained; a warning when a layer did not answer.
    """
    try:
        report = AuditReport((silver or bronze_to_silver.compare(lake, domain, day, files), *compared))
    except unavailable() as error:
        return CheckOutcome("snowflake", domain.name, "audit", False, {"not checked": why(error)}, "WARN")
    facts: dict[str, Any] = {
        result.stage.value: [str(equation) for equation in result.equations] for result in report.results
    }
    facts["explained"] = {
        reason.value: count for result in report.results for reason, count in result.explained.items() if count
    }
    facts["problems"] = [problem.to_json() for problem in report.problems]
    return CheckOutcome("snowflake", domain.name, "audit", report.clean, facts)
