"""The check `every_domain_runs`: does each entry of domains.yaml make a domain.

A person runs it from the UI, and the sensor `watch` evaluates the same function. What is a mistake belongs to
`platform_core.domain.catalog`.
"""

import dagster as dg

from platform_assets.asset_checks.reported_check import ReportedCheck
from platform_assets.assets.keys import CATALOG_KEY
from platform_core.domain.catalog import Catalog

CHECK = "every_domain_runs"
DESCRIPTION = "No entry of domains.yaml has a mistake that keeps its domain from running"


def evaluate(catalog: Catalog) -> ReportedCheck:
    """Evaluate the check for the catalog that this code location has loaded."""
    broken = catalog.broken
    text = f"{len(broken)} cannot run: {'; '.join(broken.values())}" if broken else "Every domain runs."
    return ReportedCheck(
        CATALOG_KEY, CHECK, not broken, text, {"running": len(catalog), **broken}, signature=", ".join(broken.values())
    )


def catalog_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the check, to be run from the UI; it blocks nothing."""

    @dg.asset_check(name=CHECK, asset=CATALOG_KEY, description=DESCRIPTION)
    def every_domain_runs() -> dg.AssetCheckResult:
        return evaluate(catalog).result()

    return every_domain_runs
