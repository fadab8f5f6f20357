"""The output of runs in a bucket: dagster-aws's manager with the platform's login, and with bounded patience.

Where the bucket is belongs to `by_variables`. A store that is down costs a run 40 seconds at its end and its output in
the UI, never its result: Dagster notes the failed upload as an event and goes on.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from dagster_aws.s3 import S3ComputeLogManager

from platform_core.settings import settings

READ_SECONDS = 10
"""Less than the lake's: what a run has printed is worth a short wait at its end, and no long one."""


class BucketComputeLogs(S3ComputeLogManager):
    """S3ComputeLogManager with `S3_ACCESS_KEY` and `S3_SECRET_KEY`; without them, with boto3's own chain."""

    def __init__(self, bucket: str, **config: Any) -> None:
        super().__init__(bucket, **config)
        s = settings()
        path_style = s.s3_path_style if s.s3_path_style is not None else s.s3_endpoint_url is not None
        # The manager takes no login, and its client waits for 60 s five times.
        self._s3_session = boto3.client(
            "s3",
            endpoint_url=config.get("endpoint_url"),
            region_name=config.get("region"),
            aws_access_key_id=s.s3_access_key.get_secret_value() if s.s3_access_key else None,
            aws_secret_access_key=s.s3_secret_key.get_secret_value() if s.s3_secret_key else None,
            aws_session_token=s.s3_session_token.get_secret_value() if s.s3_session_token else None,
            config=Config(
                connect_timeout=s.s3_connect_timeout_seconds,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": 2, "mode": "standard"},
                s3={"addressing_style": "path" if path_style else "auto"},
            ),
        )
