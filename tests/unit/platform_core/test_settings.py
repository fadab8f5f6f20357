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
        ("LAKE_URI", "gs://"),
        ("LAKE_URI", "gs:///prefix"),
        ("LAKE_URI", "s3:///prefix"),
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
    tokens = ("KAFKA_SSL_KEY_PASSWORD", "SINK_FLUSH_TOKEN", "SPARK_CONNECT_TOKEN")
    for name in (*kafka_and_warehouse, *tokens, "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://shop:hunter2@127.0.0.1/shop")
    assert "hunter2" not in repr(settings())
    settings.cache_clear()


def test_env_example_has_every_variable_with_its_description_and_no_other() -> None:
    text = (REPOSITORY / ".env.example").read_text()
    listed = re.findall(r"^# (.+)\n# ([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    assert {name: said for said, name in listed} == {
        name.upper(): field.description for name, field in Settings.model_fields.items()
    }


def test_env_example_shows_the_defaults() -> None:
    text = (REPOSITORY / ".env.example").read_text().replace("/opt/platform", str(REPOSITORY))
    shown = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.+)$", text, re.MULTILINE))
    assert Settings.of(shown) == Settings.of({})


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"SCHEMA_REGISTRY_URL": "https://key:hunter2@registry"},
            "must not have a login; set SCHEMA_REGISTRY_USERNAME",
        ),
        ({"SPARK_REMOTE": "sc://spark/;use_ssl=true;token=hunter2"}, "must not have a token; set SPARK_CONNECT_TOKEN"),
        ({"SCHEMA_REGISTRY_URL": "registry:8081"}, "must be http://host:port/path or https://host/path"),
        ({"SCHEMA_REGISTRY_PASSWORD": "hunter2"}, "`SCHEMA_REGISTRY_USERNAME` is empty"),
        ({"KAFKA_SSL_CERTIFICATE_FILE": __file__}, "`KAFKA_SSL_KEY_FILE` is empty"),
        ({"KAFKA_SSL_CA_FILE": "/nowhere/ca.pem"}, "`KAFKA_SSL_CA_FILE`: Path does not point to a file"),
    ],
)
def test_half_a_login_and_a_login_in_a_url_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        settings()
    assert "hunter2" not in str(caught.value)
    settings.cache_clear()
