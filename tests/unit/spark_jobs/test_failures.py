"""What an engine's exception means: what repeats is permanent, what may pass is not; values stay out of the text."""

from __future__ import annotations

from datetime import date

import pyspark.errors as pe
import pytest
from deltalake.exceptions import DeltaError
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from platform_core.domain.catalog import Domain, load_catalog
from platform_core.errors import PermanentError, PlatformError, ServiceDownError, TransientError
from platform_core.settings import REPOSITORY
from spark_jobs.engine.failures import engine_is_gone, translate_engine_errors

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def users() -> Domain:
    return load_catalog(REPOSITORY / "domains" / "domains.yaml")["users"]


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (pe.ArithmeticException("[ARITHMETIC_OVERFLOW] long overflow"), PermanentError, "met a value"),
        (
            DeltaError("Generic DeltaTable error: Parquet error: External: Generic S3 error: connection reset"),
            TransientError,
            "engine failed",
        ),
        (
            pe.SparkRuntimeException("Cast error: Cannot cast string 'Jane' to Int32"),
            PermanentError,
            "'…'",
        ),
        (
            pe.SparkRuntimeException("Invalid argument error: 1 is too large"),
            PermanentError,
            "met",
        ),
        (pe.AnalysisException("Division by zero"), PermanentError, "met a value"),
        (pe.NumberFormatException("[CAST_INVALID_INPUT] The value 'Jane' cannot be cast"), PermanentError, "'…'"),
        (SparkConnectGrpcException("Job aborted: [NUMERIC_VALUE_OUT_OF_RANGE] x"), PermanentError, "met a value"),
        (pe.IllegalArgumentException("invalid argument: found end of input"), PermanentError, "refused the query"),
        (
            pe.IllegalArgumentException("invalid argument: operation not found: 364f8073"),
            TransientError,
            "engine failed",
        ),
        (pe.UnsupportedOperationException("unknown function: nope"), PermanentError, "refused the query"),
        (pe.ParseException("[PARSE_SYNTAX_ERROR]"), PermanentError, "refused the query"),
        (pe.SparkRuntimeException("No field named items."), PermanentError, "refused the query"),
        (
            pe.SparkRuntimeException("Parquet argument error: snappy: corrupt"),
            PermanentError,
            "`part-1`: why",
        ),
        (
            pe.AnalysisException("[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH] column `a`"),
            PermanentError,
            "`part-1`: why",
        ),
        (pe.SparkRuntimeException("Schema error: Fail to merge schema field 'a'"), PermanentError, "`part-1`: why"),
        (SparkConnectGrpcException("[FAILED_READ_FILE.NO_HINT] x"), PermanentError, "`part-1`: why"),
        (pe.SparkRuntimeException("Parquet argument error: EOF: Invalid page header"), PermanentError, "`part-1`: why"),
        (
            pe.SparkRuntimeException("Object Store error: corrupt reply"),
            TransientError,
            "tried again",
        ),
        (pe.AnalysisException("[DELTA_CONCURRENT_APPEND]"), TransientError, "tried again"),
        (OSError("No space left on device"), TransientError, "tried again"),
        (SparkConnectGrpcException("status = StatusCode.UNAVAILABLE"), ServiceDownError, "until it is back"),
        (SparkConnectGrpcException("status = StatusCode.DEADLINE_EXCEEDED"), ServiceDownError, "until it is back"),
        (
            SparkConnectGrpcException("Job aborted due to stage failure: Master removed our application: FAILED"),
            ServiceDownError,
            "until it is back",
        ),
    ],
)
def test_what_repeats_is_permanent(users: Domain, error: Exception, kind: type[PlatformError], says: str) -> None:
    with (
        pytest.raises(PlatformError) as caught,
        translate_engine_errors("bronze_to_silver", users, DAY, lambda: "`part-1`: why"),
    ):
        raise error
    assert type(caught.value) is kind
    assert says in caught.value.message and "Jane" not in caught.value.message
    assert "Job `bronze_to_silver`, domain `users`, date 2026-11-20" in caught.value.message


def test_a_file_that_was_not_read_and_is_whole_means_that_the_store_was_away(users: Domain) -> None:
    with (
        pytest.raises(TransientError, match="tried again"),
        translate_engine_errors("bronze_to_silver", users, DAY, lambda: ""),
    ):
        raise SparkConnectGrpcException("[FAILED_READ_FILE.NO_HINT] Connection reset")


def test_an_engine_that_is_gone_is_not_one_that_refused_a_value() -> None:
    assert engine_is_gone(SparkConnectGrpcException("status = StatusCode.UNAVAILABLE"))
    assert not engine_is_gone(SparkConnectGrpcException("Job aborted: [NUMERIC_VALUE_OUT_OF_RANGE] x"))


S3A = "(java.nio.file.AccessDeniedException) s3a://lake/silver/users: getFileStatus on s3a://lake/silver/users: "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            S3A + "software.amazon.awssdk.services.s3.model.S3Exception: Forbidden (Service: S3, Status Code: 403)",
            "key",
        ),
        (S3A + "org.apache.hadoop.fs.s3a.auth.NoAwsCredentialsException: No AWS Credentials", "key"),
        (
            "(org.apache.hadoop.fs.s3a.UnknownStoreException) `s3a://lake/t': getFileStatus on s3a://lake/t:"
            " NoSuchBucketException: The specified bucket does not exist (Service: S3, Status Code: 404)",
            "another bucket",
        ),
        (
            "(java.net.ConnectException) getFileStatus on s3a://lake/t: SdkClientException: Unable to execute HTTP"
            " request: Connect to 127.0.0.1:9 failed: Connection refused (SDK Attempt Count: 4)",
            "cannot reach the lake's store",
        ),
        ("(java.net.UnknownHostException) getFileStatus on s3a://lake/t: Received an", "cannot reach the lake's store"),
        (
            "(java.lang.RuntimeException) java.lang.ClassNotFoundException: Class"
            " org.apache.hadoop.fs.s3a.S3AFileSystem not found",
            "--store s3",
        ),
        ('[x] No FileSystem for scheme "s3a"', "--store s3"),
        ("java.lang.ClassNotFoundException: pdp.delta.ConditionalS3LogStore", "--store s3"),
    ],
)
def test_a_store_that_the_engine_cannot_use_ends_no_date(users: Domain, text: str, says: str) -> None:
    for error in (SparkConnectGrpcException(text), pe.AnalysisException(text)):
        with pytest.raises(ServiceDownError) as caught, translate_engine_errors("gold", users, DAY):
            raise error
        assert says in caught.value.message and "`users`, date 2026-11-20" in caught.value.message
        assert "The date waits until" in caught.value.message
