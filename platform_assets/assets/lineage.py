"""A domain's column lineage for the catalog: once a process and code version, and never at the cost of a date.

When lineage is asked for and what becomes of a failure is here; how it is derived belongs to `spark_jobs.lineage`.
The catalog's side is https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from platform_core.domain.catalog import Domain
from platform_core.domain.code_version import code_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_jobs.lineage import DomainLineage

log = logging.getLogger(__name__)

_known: dict[tuple[str, str], DomainLineage | None] = {}


def known_lineage(spark: SparkSession, domain: Domain) -> DomainLineage | None:
    """Return what the columns of a domain's Silver and Gold are made of; None, logged once, when it is not known.

    The first call of a process took 0.02 to 0.09 s a domain, on either engine, without a call of the server, and up to
    0.5 s with all imports on two cores that had work for nine; the others took 0.7 ms, for the domain's version.
    """
    from spark_jobs.lineage import domain_lineage

    key = (domain.name, code_version(domain))
    if key not in _known:
        try:
            _known[key] = domain_lineage(spark, domain)
        except Exception:
            # Not only `LineageUnknownError`: the domain's code runs here on a DataFrame without rows, and a table
            # that it has made well must not be lost to its description.
            log.warning("lineage_unknown domain=%s", domain.name, exc_info=True)
            _known[key] = None
    return _known[key]
