"""The process behind the engine `sail`: LakeSail's Spark Connect server on a loopback port.

Starting and probing it belongs to `connect`. Sail runs Spark's plans on DataFusion. It takes the lake's store
from the environment, by the names of AWS; they are set here from the platform's own variables.
"""

from __future__ import annotations

import argparse
import os

from platform_core.lake.store_access import store_access
from platform_core.settings import settings

BATCH_ROWS = 32_768
"""Of a query's step. Sail compiles a regular expression once a batch: with its own 8,192 the survey and the writing of
200,000 events cost up to a tenth more, in as much memory."""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Sail's Spark Connect server.")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()

    os.environ.update(store_access(settings()).sail_environment())
    os.environ.setdefault("SAIL_EXECUTION__BATCH_SIZE", str(BATCH_ROWS))

    from pysail.spark import SparkConnectServer

    SparkConnectServer(ip="127.0.0.1", port=arguments.port).start(background=False)


if __name__ == "__main__":
    main()
