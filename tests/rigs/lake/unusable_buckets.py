"""Buckets that Spark cannot use, each for a reason that a person meets when a deployment is wrong.

One server has them all: S3A takes properties for one bucket alone.
"""

from __future__ import annotations

_BUCKET = "spark.hadoop.fs.s3a.bucket."

PROPERTIES = {
    f"{_BUCKET}wrong-key.access.key": "pdp",
    f"{_BUCKET}wrong-key.secret.key": "not the one of the store",
    # The discard port of this machine, at which nobody listens.
    f"{_BUCKET}wrong-endpoint.endpoint": "http://127.0.0.1:9",
}
"""Properties of Spark."""


def silent_bucket(port: int) -> dict[str, str]:
    """Return the properties of the bucket `silent`, whose server accepts connections on a port and says nothing."""
    return {
        f"{_BUCKET}silent.endpoint": f"http://127.0.0.1:{port}",
        # The shortest that S3A takes: each attempt of the test lasts as long.
        f"{_BUCKET}silent.connection.timeout": "15s",
        f"{_BUCKET}silent.retry.limit": "0",
    }
