"""The process behind the engine `sail`: LakeSail's Spark Connect server on a loopback port.

Starting and probing it belongs to `spark_connect`. Sail runs Spark's plans on DataFusion.
"""

from __future__ import annotations

import argparse


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Sail's Spark Connect server.")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()

    from pysail.spark import SparkConnectServer

    SparkConnectServer(ip="127.0.0.1", port=arguments.port).start(background=False)


if __name__ == "__main__":
    main()
