"""What each client of the lake is told about a bucket, from the same variables."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from platform_core.errors import ConfigurationError
from platform_core.lake.lake import Lake
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings, settings

KEYS = {"s3_access_key": "user", "s3_secret_key": "hunter2"}


def bucket(**values: object) -> Settings:
    return Settings(lake_uri="s3://lake/below", **values)  # type: ignore[arg-type]


def test_a_folder_needs_nothing(tmp_path):
    access = store_access(Settings(lake_uri=str(tmp_path)))
    assert access.is_local
    assert (access.storage_options(), access.sail_environment(), access.spark_properties()) == ({}, {}, {})


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/"])
def test_a_store_with_an_endpoint_is_addressed_by_path_by_every_client(endpoint):
    access = store_access(bucket(s3_endpoint_url=endpoint, **KEYS))
    for options in (access.storage_options(), {n.lower(): v for n, v in access.sail_environment().items()}):
        assert options["aws_endpoint"] == "http://127.0.0.1:9000"
        assert options["aws_allow_http"] == "true"
        assert options["aws_virtual_hosted_style_request"] == "false"
        assert options["aws_secret_access_key"] == "hunter2"
    properties = access.spark_properties()
    assert properties["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:9000"
    assert properties["spark.hadoop.fs.s3a.path.style.access"] == "true"
    assert properties["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "false"
    assert properties["spark.hadoop.fs.s3a.secret.key"] == "hunter2"
    assert properties["spark.delta.logStore.s3a.impl"] == "pdp.delta.ConditionalS3LogStore"


def test_without_an_endpoint_it_is_aws_by_host():
    access = store_access(bucket(**KEYS))
    assert "aws_endpoint" not in access.storage_options()
    assert access.storage_options()["aws_virtual_hosted_style_request"] == "true"
    assert "spark.hadoop.fs.s3a.endpoint" not in access.spark_properties()
    assert access.spark_properties()["spark.hadoop.fs.s3a.path.style.access"] == "false"


def test_a_store_that_wants_the_bucket_in_its_host():
    access = store_access(bucket(s3_endpoint_url="https://store.example", s3_path_style=False, **KEYS))
    assert access.storage_options()["aws_endpoint"] == "https://lake.store.example"
    assert access.spark_properties()["spark.hadoop.fs.s3a.endpoint"] == "https://store.example"


def test_aws_by_path():
    access = store_access(bucket(s3_region="eu-west-1", s3_path_style=True))
    assert access.storage_options()["aws_endpoint"] == "https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("values", "provider"),
    [
        (KEYS, "SimpleAWSCredentialsProvider"),
        ({**KEYS, "s3_session_token": "t"}, "TemporaryAWSCredentialsProvider"),
        ({}, "DefaultCredentialsProvider"),
    ],
)
def test_credentials_are_the_same_kind_for_every_client(values, provider):
    access = store_access(bucket(**values))
    properties, options, environment = access.spark_properties(), access.storage_options(), access.sail_environment()
    assert properties["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith(f".{provider}")
    assert ("spark.hadoop.fs.s3a.access.key" in properties) == bool(values)
    assert ("aws_access_key_id" in options) == ("AWS_ACCESS_KEY_ID" in environment) == bool(values)
    assert options.get("aws_session_token") == environment.get("AWS_SESSION_TOKEN") == values.get("s3_session_token")


def test_no_client_waits_or_tries_for_ever():
    access = store_access(bucket(s3_connect_timeout_seconds=2, s3_request_timeout_seconds=7, s3_max_attempts=3))
    options, properties = access.storage_options(), access.spark_properties()
    assert (options["max_retries"], options["retry_timeout"]) == ("2", "21s")
    assert (options["aws_timeout"], options["aws_connect_timeout"]) == ("7s", "2s")
    # Of the connector's two loops, one inside the other, the outer one tries again.
    s3a = "spark.hadoop.fs.s3a."
    assert (properties[f"{s3a}attempts.maximum"], properties[f"{s3a}retry.limit"]) == ("0", "2")
    assert properties["spark.hadoop.fs.s3a.connection.establish.timeout"] == "2000ms"


def test_spark_reaches_the_bucket_by_its_connector_and_delta_rs_by_its_own(tmp_path):
    lake = Lake(bucket(**KEYS))
    assert (lake.uri("a"), lake.spark_uri("a"), lake.path("a")) == (
        "s3://lake/below/a",
        "s3a://lake/below/a",
        "lake/below/a",
    )
    assert Lake(Settings(lake_uri=str(tmp_path))).spark_uri("a") == f"{tmp_path}/a"


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:9000", "ftp://store", "http://", "http://store/bucket", "https://user:hunter2@store", "http://s/?a=1"],
)
def test_an_endpoint_is_a_server_and_nothing_else(endpoint):
    with pytest.raises(ValidationError, match="must"):
        bucket(s3_endpoint_url=endpoint)


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"S3_ACCESS_KEY": "user"}, "S3_SECRET_KEY"),
        ({"S3_SECRET_KEY": "hunter2"}, "S3_ACCESS_KEY"),
        ({"S3_SESSION_TOKEN": "hunter2"}, "S3_ACCESS_KEY"),
    ],
)
def test_half_of_a_login_is_refused_with_the_variable_and_without_its_value(monkeypatch, values, variable):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with pytest.raises(ConfigurationError, match=variable) as caught:
        settings()
    assert "hunter2" not in str(caught.value)
    settings.cache_clear()
