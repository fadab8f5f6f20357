"""What the size of a date changes in a session."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pyspark.sql import SparkSession

from platform_core.settings import settings
from spark_jobs.engine.session import FEW_ROWS, SHUFFLE_PARTITIONS, suit

MEBIBYTE = 1024 * 1024
OF_THE_SERVER = {SHUFFLE_PARTITIONS: "4"}


class _Session:
    """A session whose properties are a dictionary over those of its server."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}
        self.conf: Any = self

    def set(self, key: str, value: str) -> None:
        self.own[key] = value

    def unset(self, key: str) -> None:
        self.own.pop(key, None)

    def get(self, key: str, default: str) -> str:
        return {**OF_THE_SERVER, **self.own}.get(key, default)


@pytest.fixture
def spark() -> _Session:
    settings.cache_clear()
    return _Session()


def suited(spark: _Session, rows: int, mebibytes: int) -> dict[str, str]:
    suit(cast(SparkSession, spark), rows, mebibytes * MEBIBYTE)
    return spark.own


def test_a_small_date_is_not_split(spark: _Session) -> None:
    assert suited(spark, FEW_ROWS, 40)[SHUFFLE_PARTITIONS] == "1"


def test_a_usual_date_is_split_as_the_server_says(spark: _Session) -> None:
    assert suited(spark, 860_000, 4 * 20) == {}


def test_a_large_date_is_split_by_its_bytes(spark: _Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert suited(spark, 10_000_000, 50 * 20) == {SHUFFLE_PARTITIONS: "50"}
    monkeypatch.setenv("SPARK_SHUFFLE_PARTITION_BYTES", str(8 * MEBIBYTE))
    settings.cache_clear()
    assert suited(spark, 10_000_000, 50 * 20) == {SHUFFLE_PARTITIONS: "125"}
    settings.cache_clear()


def test_dates_of_one_session_do_not_inherit_the_size_of_the_one_before(spark: _Session) -> None:
    suited(spark, 10_000_000, 50 * 20)
    assert len(suited(spark, 10, 1)) > 1
    assert suited(spark, 860_000, 80) == {}
