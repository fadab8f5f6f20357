"""The checks of one date of Silver, Gold and the warehouse, which the run evaluates between its steps.

Only their specs are here; what is compared belongs to `audit`, and the run stops a date in `processing`.
"""

import warnings

import dagster as dg

from audit.checks import GOLD_CHECKS, NOT_BLOCKING, WAREHOUSE_CHECKS, silver_checks
from platform_assets.partitions import daily
from platform_core.domain.catalog import Domain


def check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """Return the checks of Silver, Gold and the warehouse, a result each date; those that can fail block."""
    checks = [("silver", domain.name, name, text) for name, text in silver_checks(domain).items()]
    checks += [("gold", table, name, text) for table in domain.gold.tables for name, text in GOLD_CHECKS.items()]
    checks += [("snowflake", domain.name, name, text) for name, text in WAREHOUSE_CHECKS.items()]
    with warnings.catch_warnings():
        # Checks with partitions are a preview of 1.13; the lock keeps the version on which the tests passed.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name,
                asset=dg.AssetKey([layer, table]),
                description=text,
                blocking=name not in NOT_BLOCKING,
                partitions_def=daily(domain),
            )
            for layer, table, name, text in checks
        ]
