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
