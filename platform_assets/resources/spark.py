"""The Spark session as a resource: a Spark Connect client of an endpoint that outlives the step.

Starting a JVM a step cost 275-614 s a run where a kept endpoint cost 77-84 s, measured alike; so nothing here
starts an engine. Which engine answers (Spark or Sail) is the endpoint's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from platform_core.lake.store_access import store_access
from platform_core.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkEndpoint(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens sessions on the endpoint that `SPARK_REMOTE` names."""

    @contextmanager
    def session(self, run_id: str) -> Iterator[SparkSession]:
        """Open a session of this run's own; on an error its running jobs are interrupted.

        Args:
            run_id: The Dagster run, a UUID; it names the session, so that `end_session` finds it.

        The store is asked first, as at the start of a process: each of the engine's questions waits out all attempts of
        its client, which are minutes with a store that accepts connections and never answers.

        Raises:
            ConfigurationError: the store refuses this process.
            TransientError: the store or the endpoint does not answer.
        """
        from spark_jobs.engine.session import close, connect

        store_access(settings()).check(writes=False)
        spark = connect(settings().spark_remote, run_id, token=settings().spark_connect_token)
        try:
            yield spark
        except BaseException:
            spark.interruptAll()
            raise
        finally:
            close(spark)

    def end_session(self, run_id: str) -> None:
        """End what the session of a run that is gone still executes."""
        from spark_jobs.engine.session import end

        end(settings().spark_remote, run_id, token=settings().spark_connect_token)
