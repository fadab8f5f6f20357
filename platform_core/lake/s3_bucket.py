"""A bucket of S3, or of a store with its API, as each client takes it.

Four clients read and write the same bucket: pyarrow, delta-rs, Sail and Spark's S3A connector. What every store has in
common belongs to `store_access`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pyarrow.fs as pafs

from platform_core.lake.paths import STORE_PROBE
from platform_core.lake.store_access import StoreAccess
from platform_core.settings import Settings

_S3A = "spark.hadoop.fs.s3a."
# Built from infra/delta_log_store. The stock store is safe with one driver only.
_LOG_STORE, _CONDITIONAL_LOG_STORE = "spark.delta.logStore.s3a.impl", "pdp.delta.ConditionalS3LogStore"


class S3Bucket(StoreAccess):
    """The bucket of an s3:// lake.

    Commits of Delta are conditional PUTs (If-None-Match), so several writers of a table never overwrite each other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bucket = urlsplit(settings.lake_uri).netloc
        given = settings.s3_endpoint_url
        self._path_style = settings.s3_path_style if settings.s3_path_style is not None else given is not None
        # AWS by path has no switch in pyarrow: it takes the path style for an endpoint only.
        self._endpoint = given or (f"https://s3.{settings.s3_region}.amazonaws.com" if self._path_style else None)
        self._is_http = (self._endpoint or "").startswith("http://")
        self._access_key = settings.s3_access_key.get_secret_value() if settings.s3_access_key else None
        self._secret_key = settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else None
        self._token = settings.s3_session_token.get_secret_value() if settings.s3_session_token else None

    def filesystem(self) -> pafs.FileSystem:
        """Return the file system of pyarrow."""
        s = self._settings
        return pafs.S3FileSystem(
            access_key=self._access_key,
            secret_key=self._secret_key,
            session_token=self._token,
            region=s.s3_region,
            endpoint_override=urlsplit(self._endpoint).netloc if self._endpoint else None,
            scheme="http" if self._is_http else "https",
            force_virtual_addressing=not self._path_style,
            request_timeout=s.s3_request_timeout_seconds,
            connect_timeout=s.s3_connect_timeout_seconds,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=s.s3_max_attempts),
            allow_delayed_open=True,  # a small file is one PUT instead of the three requests of a multipart upload
        )

    def storage_options(self) -> dict[str, str]:
        """Return the options of delta-rs; commits are conditional PUTs."""
        s = self._settings
        return {
            **self._object_store(),
            "aws_conditional_put": "etag",
            "max_retries": str(s.s3_max_attempts - 1),
            # All attempts of one request together: each may take its time-out, and the pauses between them as long.
            "retry_timeout": f"{s.s3_request_timeout_seconds * s.s3_max_attempts:g}s",
        }

    def sail_environment(self) -> dict[str, str]:
        """Return the environment of Sail's server. It retries ten times within 180 s and has no option for that."""
        return {name.upper(): value for name, value in self._object_store().items()}

    def _object_store(self) -> dict[str, str]:
        """Return what delta-rs and Sail share: both are built on the crate object_store.

        https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html
        """
        s = self._settings
        options = {
            "aws_region": s.s3_region,
            "aws_virtual_hosted_style_request": str(not self._path_style).lower(),
            # Without it delta-rs never asks for an instance's role, which pyarrow, Sail and Spark do.
            "aws_ec2_metadata_disabled": str(s.aws_ec2_metadata_disabled).lower(),
            "aws_timeout": f"{s.s3_request_timeout_seconds:g}s",
            "aws_connect_timeout": f"{s.s3_connect_timeout_seconds:g}s",
        }
        if self._endpoint:
            # Not AWS_ENDPOINT_URL: the AWS SDK beside it would ask that endpoint for the credentials of a role too.
            options["aws_endpoint"] = (
                self._endpoint if self._path_style else self._virtual_host(self._endpoint, self.bucket)
            )
            options["aws_allow_http"] = str(self._is_http).lower()
        if self._access_key and self._secret_key:
            options["aws_access_key_id"] = self._access_key
            options["aws_secret_access_key"] = self._secret_key
        if self._token:
            options["aws_session_token"] = self._token
        return options

    def _virtual_host(self, endpoint: str, bucket: str) -> str:
        """Return the endpoint with the bucket in its host name, which object_store wants from its caller."""
        parts = urlsplit(endpoint)
        return f"{parts.scheme}://{bucket}.{parts.netloc}"

    def spark_properties(self) -> dict[str, str]:
        """Return the properties of the S3A connector, and of the commits to Delta tables on it.

        https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/connecting.html
        """
        s = self._settings
        properties = {
            "endpoint.region": s.s3_region,
            "path.style.access": str(self._path_style).lower(),
            "connection.ssl.enabled": str(not self._is_http).lower(),
            "connection.establish.timeout": f"{_milliseconds(s.s3_connect_timeout_seconds)}ms",
            "connection.timeout": f"{_milliseconds(s.s3_request_timeout_seconds)}ms",
            "connection.request.timeout": f"{_milliseconds(s.s3_request_timeout_seconds)}ms",
            # The SDK tries again inside the connector's own retries: a store that accepts connections and never answers
            # was asked 16 times and more. So the SDK asks once.
            "attempts.maximum": "0",
            "retry.limit": str(s.s3_max_attempts - 1),
            "retry.throttle.limit": str(s.s3_max_attempts - 1),
        }
        if self._endpoint:
            properties["endpoint"] = self._endpoint
        if self._access_key and self._secret_key:
            properties["access.key"] = self._access_key
            properties["secret.key"] = self._secret_key
        if self._token:
            properties["session.token"] = self._token
        properties["aws.credentials.provider"] = self._credentials_provider()
        return {_S3A + name: value for name, value in properties.items()} | {_LOG_STORE: _CONDITIONAL_LOG_STORE}

    def _credentials_provider(self) -> str:
        if self._token:
            return "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
        if self._access_key:
            return "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
        return "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"

    def check(self, *, writes: bool) -> None:
        """Raise what is wrong with the variables, see `StoreAccess.check`."""
        from platform_core.lake.s3_check import (
            AskedS3Bucket,
            check_bucket,
        )  # here: 0.3 s of CPU that a local lake never pays

        aws = f"https://s3.{self._settings.s3_region}.amazonaws.com"
        endpoint = self._endpoint or aws
        # With LAKE_URI=s3:// each folder of the lake is a bucket of its own, and the tables of states are asked for.
        bucket, _, key = f"{self._settings.lake_uri.removeprefix('s3://')}/{STORE_PROBE}".lstrip("/").partition("/")
        keys = (self._access_key, self._secret_key, self._token) if self._access_key and self._secret_key else None
        asked = AskedS3Bucket(
            url=f"{endpoint}/{bucket}" if self._path_style else self._virtual_host(endpoint, bucket),
            endpoint=endpoint,
            bucket=bucket,
            is_root=bool(self.bucket),
            key=key,
            region=self._settings.s3_region,
            keys=keys,
        )
        check_bucket(asked, writes=writes)

    def spark_uri(self, uri: str) -> str:
        """Return a URI as the engines take it: Spark reaches S3 by the S3A connector."""
        return "s3a://" + uri.removeprefix("s3://")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
