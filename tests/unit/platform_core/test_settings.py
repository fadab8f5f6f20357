"""Environment variables: defaults, refusals, secrets."""

from __future__ import annotations

import re

import pytest

from platform_core.errors import ConfigurationError
from platform_core.settings import REPOSITORY, Settings, settings


@pytest.fixture(autouse=True)
def fresh() -> None:
    settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SINK_FLUSH_BUFFER_SIZE", "0"),
        ("SINK_FLUSH_INTERVAL_SECONDS", "soon"),
        ("POSTGRES_DSN", "host=somewhere password=hunter2"),
        ("LAKE_URI", "some/relative/folder"),
        ("KAFKA_SASL_MECHANISM", "MAGIC"),
        ("SPARK_ENGINE", "flink"),
    ],
)
def test_an_illegal_value_names_the_variable_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"`{name}`") as caught:
        settings()
    assert "hunter2" not in str(caught.value)
    settings.cache_clear()


def test_no_secret_shows_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka_and_warehouse = ("KAFKA_PASSWORD", "KAFKA_ADMIN_PASSWORD", "SNOWFLAKE_PASSWORD")
    for name in (*kafka_and_warehouse, "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://shop:hunter2@127.0.0.1/shop")
    assert "hunter2" not in repr(settings())
    settings.cache_clear()


def test_env_example_has_every_variable_and_no_other() -> None:
    text = (REPOSITORY / ".env.example").read_text()
    listed = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))
    assert listed == {name.upper() for name in Settings.model_fields}
