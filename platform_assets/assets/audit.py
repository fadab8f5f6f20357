"""The asset that proves every day that nothing was lost: `pdp audit` of what changed, as a run.

What is compared, and which dates are due, belongs to `audit`; the hour belongs to `platform_assets.schedules`.
"""

import dagster as dg

from audit.report import AuditReport
from platform_assets.assets.keys import AUDIT_KEY, PLATFORM_OWNER
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.counted import counted
from platform_core.domain.catalog import Catalog
from platform_core.errors import PermanentError
from platform_core.settings import Settings

POOL = "audit"
"""A pool of its own: two audits never run beside each other, and none keeps a domain's run waiting."""


class UnexplainedError(PermanentError):
    """The audit found what nothing explains."""


def audit_asset(catalog: Catalog, settings: Settings) -> dg.AssetsDefinition:
    """Return the asset whose materialization is an audit; the run fails when something is unexplained."""

    @dg.asset(
        key=AUDIT_KEY,
        group_name="platform",
        kinds={"python"},
        owners=[PLATFORM_OWNER],
        pool=POOL,
        description="Proof that nothing was lost: every layer against the next, for the dates that changed.",
    )
    def audit(context: dg.AssetExecutionContext, metadata_store: MetadataStore) -> dg.MaterializeResult[None]:
        # Its clients of Kafka, Postgres and the warehouse are not the code location's: it only lists assets.
        from audit.what_changed import audit_what_changed

        report = audit_what_changed(
            settings, catalog, metadata_store.lake(), metadata_store.partitions(), progress=context.log.debug
        )
        for problem in report.problems:
            context.log.error(
                f"{problem.domain} {problem.day or ''} {problem.stage.layers}: {problem.count} {problem.kind}"
                f" {problem.where} {problem.detail} {problem.next_step}"
            )
        for result in report.not_checked:
            context.log.warning(f"{result.domain}, {result.stage.layers} not checked: {result.not_checked}")
        if text := unexplained(report):
            raise UnexplainedError(text)
        return dg.MaterializeResult(metadata=_metadata(report))

    return audit


def unexplained(report: AuditReport) -> str:
    """Return the first thing that nothing explains and how many there are, in a sentence; empty without any."""
    found = [
        f"{problem.count:,} {problem.kind.value} of `{problem.domain}`{f' {problem.day}' if problem.day else ''},"
        f" {problem.stage.layers}: {problem.where or problem.detail}"
        for problem in report.problems
    ] + [
        f"counts of `{result.domain}`{f' {result.day}' if result.day else ''}, {result.stage.layers}: {equation}"
        for result in report.results
        for equation in result.equations
        if not equation.adds_up and not result.problems
    ]
    if not found:
        return ""
    more = f", and {counted(len(found) - 1, 'problem')} more" if found[1:] else ""
    return f"The audit cannot explain {found[0]}{more}. `pdp audit` names each with its next step."


def _metadata(report: AuditReport) -> dict[str, dg.MetadataValue]:
    records = [
        dg.TableRecord(
            {
                "domain": result.domain,
                "stage": result.stage.layers,
                "counts": "; ".join(str(equation) for equation in result.equations),
                "not checked": result.not_checked,
            }
        )
        for result in report.summary()
    ]
    shown: dict[str, dg.MetadataValue] = {
        "looked_at": dg.MetadataValue.text(report.scope),
        "not_checked": dg.MetadataValue.int(len(report.not_checked)),
    }
    return shown | ({"stages": dg.MetadataValue.table(records)} if records else {})
