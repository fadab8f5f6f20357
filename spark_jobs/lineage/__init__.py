"""Column lineage, derived from the plans that a domain's code builds: which columns each column's value is made of.

A domain declares nothing: `of_domain` runs its `Transform` and `Aggregation` on a DataFrame without rows, and
`relations` and `expressions` read the plan. What the catalog makes of it belongs to the orchestrator; the plan is
described in https://spark.apache.org/docs/latest/spark-connect-overview.html.
"""

from spark_jobs.lineage.fields import LineageUnknownError
from spark_jobs.lineage.of_domain import DomainLineage, domain_lineage
from spark_jobs.lineage.relations import LineageSource, column_lineage

__all__ = ["DomainLineage", "LineageSource", "LineageUnknownError", "column_lineage", "domain_lineage"]
