"""What each client of the lake is given for a bucket at Google, from the same variables."""

from __future__ import annotations

import json

import pytest

from platform_core.errors import ConfigurationError, ServiceDownError
from platform_core.lake import gcs_bucket
from platform_core.lake.store_access import StoreAccess, store_access
from platform_core.settings import Settings
from tests.rigs.silent_server import SilentServer

CONNECTOR = "spark.hadoop.fs.gs."


def bucket(**values: object) -> StoreAccess:
    return store_access(Settings(lake_uri="gs://lake/below", **values))  # type: ignore[arg-type]


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"type": "service_account", "private_key": "hunter2"}))
    return path


def test_an_emulator_gets_no_login_and_nobody_asks_the_metadata_address(key_file):
    access = bucket(gcs_endpoint_url="http://127.0.0.1:4443/", google_application_credentials=key_file)
    for options in (access.storage_options(), {n.lower(): v for n, v in access.sail_environment().items()}):
        login = json.loads(options["google_service_account_key"])
        assert (login["gcs_base_url"], login["disable_oauth"]) == ("http://127.0.0.1:4443", True)
        assert options["google_allow_http"] == "true"
        assert "google_application_credentials" not in options
    properties = access.spark_properties()
    assert properties[f"{CONNECTOR}auth.type"] == "UNAUTHENTICATED"
    assert properties[f"{CONNECTOR}storage.root.url"] == "http://127.0.0.1:4443/"


def test_a_key_file_is_named_to_every_client_and_its_content_to_none(key_file):
    access = bucket(google_application_credentials=key_file)
    properties = access.spark_properties()
    assert properties[f"{CONNECTOR}auth.type"] == "SERVICE_ACCOUNT_JSON_KEYFILE"
    assert properties[f"{CONNECTOR}auth.service.account.json.keyfile"] == str(key_file)
    assert access.storage_options()["google_application_credentials"] == str(key_file)
    assert access.sail_environment()["GOOGLE_APPLICATION_CREDENTIALS"] == str(key_file)
    assert "hunter2" not in f"{properties}{access.storage_options()}{access.sail_environment()}"


def test_without_a_key_file_every_client_takes_the_ambient_credentials():
    access = bucket()
    given = {*access.storage_options(), *(name.lower() for name in access.sail_environment())}
    assert given.isdisjoint({"google_application_credentials", "google_service_account_key"})
    properties = access.spark_properties()
    assert properties[f"{CONNECTOR}auth.type"] == "APPLICATION_DEFAULT"
    assert f"{CONNECTOR}storage.root.url" not in properties


def test_spark_takes_googles_connector_and_not_the_one_of_hadoop():
    properties = bucket().spark_properties()
    assert properties[f"{CONNECTOR}impl"] == "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem"
    assert int(properties[f"{CONNECTOR}block.size"]) == 64 * 1024 * 1024
    assert properties["spark.delta.logStore.gs.impl"] == "io.delta.storage.GCSLogStore"
    assert bucket().spark_uri("gs://lake/below/a") == "gs://lake/below/a"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "FileNotFoundError"), ("{", "JSONDecodeError"), ("[]", "AttributeError"), ('{"type": "x"}', "type `x`")],
)
def test_what_is_no_key_of_a_service_account_is_refused_with_the_variable(tmp_path, content, said):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        bucket(google_application_credentials=path)
    assert said in str(caught.value)
    assert store_access(Settings(lake_uri=str(tmp_path), google_application_credentials=path)).is_local


def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * gcs_bucket.CHECK_ANSWER_SECONDS < 30
    monkeypatch.setattr(gcs_bucket, "CHECK_ANSWER_SECONDS", 0.2)
    with SilentServer() as store, pytest.raises(ServiceDownError, match=r"is not reached: .*timed out"):
        bucket(gcs_endpoint_url=f"http://127.0.0.1:{store.port}", gcs_retry_seconds=0.1).check(writes=True)
