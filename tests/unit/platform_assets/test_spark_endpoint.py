"""What a run says of a store that cannot be used: before it asks the engine, which would wait for minutes."""

from __future__ import annotations

import pytest

from platform_assets.resources.spark import SparkEndpoint
from platform_core.errors import ServiceDownError
from tests.rigs.lake.told_store import told_store
from tests.rigs.platform_environment import environment


def test_a_store_that_is_away_ends_a_run_before_it_asks_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spark_jobs.engine.session.connect", lambda *_, **__: pytest.fail("the engine is asked"))
    with told_store(GET=[(503, "<Error><Code>SlowDown</Code></Error>")]) as store:
        variables = {
            "LAKE_URI": "s3://lake/below",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
            "S3_ACCESS_KEY": "AKIAEXAMPLE",
            "S3_SECRET_KEY": "hunter2",
            "NO_PROXY": "127.0.0.1",
        }
        with (
            environment(variables),
            pytest.raises(ServiceDownError, match="is not reached: it answers 503 SlowDown"),
            SparkEndpoint().session("00000000-0000-0000-0000-000000000000"),
        ):
            pytest.fail("a session opened")
