"""The platform's two jobs for one date of events, on the engine behind SPARK_REMOTE.

`python -m benchmarks.day.platform_jobs DATE`, with LAKE_URI; `--engine spark` starts an engine for this one date and
ends it, as somebody does who has none running.
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import settings


def main() -> None:
    """Process one date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("day", type=date.fromisoformat)
    parser.add_argument("--engine", choices=("spark", "sail"))
    options = parser.parse_args()
    with ExitStack() as services:
        if options.engine:
            from infra.embedded.services.spark.connect import SparkConnect  # a run of the platform has no such import

            root = Path(settings().lake_uri).with_name("engine")
            os.environ |= services.enter_context(SparkConnect(root, engine=options.engine)).env()
            settings.cache_clear()
        # Imported once the engine is there: its client starts threads, and a process with threads must not fork.
        from spark_jobs import bronze_to_silver, silver_to_gold
        from spark_jobs.engine.session import connect

        lake, domain = Lake(settings()), load_catalog(settings().domains_file)["events"]
        spark = connect(settings().spark_remote, token=settings().spark_connect_token)
        files = [file.name for file in lake.list_date(domain, options.day)]
        bronze_to_silver.run(spark, lake, domain, options.day, files)
        silver_to_gold.run(spark, lake, domain, options.day)
        spark.stop()


if __name__ == "__main__":
    main()
