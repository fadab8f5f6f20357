"""The process behind the engine `sail`: LakeSail's Spark Connect server on a loopback port.

Starting and probing it belongs to `connect`. Sail runs Spark's plans on DataFusion. It takes the lake's store
from the environment, by the names of AWS; they are set here from the platform's own variables.
"""

from __future__ import annotations

import argparse
import os

from platform_core.lake.store_access import store_access
from platform_core.settings import settings


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Sail's Spark Connect server.")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()

    os.environ.update(store_access(settings()).sail_environment())

    from pysail.spark import SparkConnectServer

    SparkConnectServer(ip="127.0.0.1", port=arguments.port).start(background=False)


if __name__ == "__main__":
    main()
