"""Spark's jobs on a lake in a bucket: the same rows as on a folder, and one sentence where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import Catalog
from platform_core.errors import ServiceDownError
from platform_core.lake.lake import Lake
from platform_core.lake.store_access import store_access
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.engine import session
from spark_jobs.engine.failures import translate_engine_errors
from tests.rigs.faults.faulty_s3 import Fault, FaultyS3
from tests.rigs.lake import bronze_days, unusable_buckets
from tests.rigs.lake.bronze_days import DAY
from tests.rigs.lake.delta_rows import rows, tables_of
from tests.rigs.lake.unusable_buckets import silent_bucket
from tests.rigs.settings_of import settings_of
from tests.rigs.silent_server import SilentServer
from tests.spark.conftest import Engine


@pytest.fixture(scope="module")
def bucket_proxy(object_store: ObjectStore) -> Iterator[FaultyS3]:
    """What Spark takes for the S3 server.

    Not for delta-rs: its `history` keeps Python's lock until the store has answered, and the proxy is in this process.
    """
    proxy = FaultyS3(object_store.env()["S3_ENDPOINT_URL"], seed=1)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def bucket(object_store: ObjectStore) -> Lake:
    """A lake in a bucket, as this process reaches it; Spark does by the proxy."""
    return Lake(settings_of(object_store.env()))


@pytest.fixture(scope="module")
def silent_server() -> Iterator[SilentServer]:
    """A store that accepts connections and never answers."""
    with SilentServer() as server:
        yield server


@pytest.fixture(scope="module")
def spark(
    toolchain: Toolchain,
    object_store: ObjectStore,
    bucket_proxy: FaultyS3,
    silent_server: SilentServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SparkSession]:
    """A session of a Spark that has the connector to S3, and buckets that cannot be used."""
    store = store_access(settings_of({**object_store.env(), "S3_ENDPOINT_URL": bucket_proxy.endpoint}))
    properties = store.spark_properties() | unusable_buckets.PROPERTIES | silent_bucket(silent_server.port)
    with SparkConnect(
        tmp_path_factory.mktemp("spark_s3"),
        toolchain=toolchain,
        driver_memory="1g",
        jars=toolchain.s3a_jars,
        properties=properties,
    ) as service:
        opened = session.connect(service.env()["SPARK_REMOTE"])
        yield opened
        opened.stop()


def test_spark_on_a_bucket_that_loses_replies_writes_the_rows_of_sail_on_a_folder(
    filled: dict[str, Engine],
    spark: SparkSession,
    bucket: Lake,
    bucket_proxy: FaultyS3,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bronze_to_silver, "FEW_SILVER_ROWS", 0)  # it is Spark's commits that are meant
    for domain in catalog:
        files = bronze_days.write(bucket, domain, DAY, bronze_days.RECORDS[domain.name]())
        bucket_proxy.fault, bucket_proxy.rate = Fault.REPLY_LOST, 0.2
        try:
            bronze_to_silver.run(spark, bucket, domain, DAY, files)
            silver_to_gold.run(spark, bucket, domain, DAY)
        finally:
            bucket_proxy.fault = None
        for table in tables_of(bucket, domain):
            assert rows(bucket, table) == filled["sail"].rows[table], table
    assert bucket_proxy.counts[Fault.REPLY_LOST] > 2


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3a://wrong-key/t", "key"),
        ("s3a://wrong-endpoint/t", "cannot reach the lake's store"),
        ("s3a://no-bucket/t", "another bucket"),
        ("gs://no-jar/t", "lacks a jar"),
    ],
)
def test_a_bucket_that_the_engine_cannot_use_is_one_sentence(
    spark: SparkSession, catalog: Catalog, uri: str, says: str
) -> None:
    with pytest.raises(ServiceDownError, match=says), translate_engine_errors("gold", catalog["users"], DAY):
        spark.read.parquet(uri).count()


def test_a_store_that_never_answers_is_asked_again_by_the_connector_alone(
    spark: SparkSession, catalog: Catalog, silent_server: SilentServer
) -> None:
    with (
        pytest.raises(ServiceDownError, match="cannot reach the lake's store"),
        translate_engine_errors("gold", catalog["users"], DAY),
    ):
        spark.read.parquet("s3a://silent/t").count()
    # Spark asks two questions, whether a stream wrote the folder and whether it exists, and the SDK each of them once.
    assert silent_server.connections == 2
