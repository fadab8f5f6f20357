"""Install what the embedded services run: `python -m infra.embedded.toolchain`.

With `--store`, instead, what Spark needs on its class path for Delta tables in a bucket: the jars' paths are printed,
for `spark-submit --jars` and for a server of one's own.
"""

from __future__ import annotations

import argparse

from infra.embedded.toolchain.toolchain import Toolchain


def main() -> None:
    """Install, with progress, and print where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("s3", "gs"), help="Delta's jars, and those of the lake's store")
    store = parser.parse_args().store
    toolchain = Toolchain()
    if store:
        paths = [*toolchain.delta_jars, *(toolchain.s3a_jars if store == "s3" else toolchain.gcs_jars)]
    else:
        paths = [toolchain.jdk.home, toolchain.postgres, toolchain.apicurio.parent]
        paths += [jars[0].parent for jars in (toolchain.kafka_jars, toolchain.delta_jars)]
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
