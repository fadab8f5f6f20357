"""The plan that a Spark Connect client sends for a DataFrame. What is read from it belongs to who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame

if TYPE_CHECKING:
    from pyspark.sql.connect import proto  # not at run time: a process of `spark-submit` has no gRPC


def relation_of(df: DataFrame) -> proto.Relation | None:
    """Return the plan as a message; None for a classic session, which has none."""
    # The client's own plan has no public name; pyproject.toml pins its version.
    plan, session = getattr(df, "_plan", None), getattr(df, "_session", None)
    if plan is None or session is None:
        return None
    relation: proto.Relation = plan.plan(session.client)
    return relation
