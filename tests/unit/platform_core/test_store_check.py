"""What a process says at its start about a bucket whose variables are wrong."""

from __future__ import annotations

import socket

import pytest

from platform_core.errors import ConfigurationError, ServiceDownError
from platform_core.lake import s3_check
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings
from tests.rigs.lake.told_store import told_store


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No ambient credentials, no proxy, and never a metadata address."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def check(settings: Settings, *, writes: bool = False) -> None:
    store_access(settings).check(writes=writes)


def error(code: str, more: str = "") -> str:
    return (
        f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId>{more}"
        "<StringToSign>hunter2</StringToSign></Error>"
    )


def test_a_good_store_is_asked_once_and_a_folder_never(tmp_path):
    check(Settings(lake_uri=str(tmp_path / "nothing")), writes=True)
    with told_store() as store:
        check(store.settings())
        assert store.asked == ["GET /lake/?list-type=2&max-keys=1&prefix=below%2Fpipeline-metadata%2F"]


def test_a_root_of_many_buckets_is_asked_for_the_one_of_the_states():
    with told_store(PUT=[(412, "")]) as store:
        check(store.settings().model_copy(update={"lake_uri": "s3://"}), writes=True)
        assert store.asked == [
            "GET /pipeline-metadata/?list-type=2&max-keys=1&prefix=",
            "PUT /pipeline-metadata/store_probe *",
        ]


def test_a_uri_without_a_bucket_and_a_store_without_the_platforms_own_is_one_sentence():
    with told_store(GET=[(404, error("NoSuchBucket"))]) as store:
        settings = store.settings().model_copy(update={"lake_uri": "s3://"})
        with pytest.raises(ConfigurationError, match=r"^`LAKE_URI` names no bucket.* as s3://bucket or"):
            check(settings)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, error("InvalidAccessKeyId"), "correct `S3_ACCESS_KEY`"),
        (403, error("SignatureDoesNotMatch"), "`S3_SECRET_KEY` is not the secret"),
        (400, error("ExpiredToken"), "renew `S3_SESSION_TOKEN`"),
        (403, error("AccessDenied"), r"not list the bucket `lake` \(AccessDenied\)"),
        (403, error("RequestTimeTooSkewed"), "set the machine's clock"),
        (404, error("NoSuchBucket"), "no bucket `lake`: create it, or correct the bucket in `LAKE_URI`"),
        (400, error("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), "`S3_REGION`. It is in `eu-west-1`"),
        (301, error("PermanentRedirect"), "correct `S3_REGION`"),
        (418, "<html>tea</html>", "`S3_ENDPOINT_URL` must be a store with the API of S3"),
    ],
)
def test_a_wrong_variable_is_named_in_one_sentence_without_a_key(status, body, says):
    with told_store(GET=[(status, body)]) as store, pytest.raises(ConfigurationError, match=says) as caught:
        check(store.settings())
    assert len(store.asked) == 1
    assert "hunter2" not in str(caught.value) and "AKIA" not in str(caught.value)


def test_no_credentials_at_all_are_named():
    with told_store() as store, pytest.raises(ConfigurationError, match="set `S3_ACCESS_KEY` and `S3_SECRET_KEY`, or"):
        check(store.settings().model_copy(update={"s3_access_key": None, "s3_secret_key": None}))
    assert store.asked == []


def test_ambient_credentials_are_taken(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "role")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    with told_store() as store:
        check(store.settings().model_copy(update={"s3_access_key": None, "s3_secret_key": None}))
        assert len(store.asked) == 1


def test_a_busy_store_is_asked_again_and_a_broken_one_is_an_outage():
    with told_store(GET=[(503, error("SlowDown")), (200, "")]) as store:
        check(store.settings())
    with told_store(GET=[(500, error("InternalError"))]) as store:
        with pytest.raises(ServiceDownError, match="it answers 500 InternalError"):
            check(store.settings())
        assert len(store.asked) == s3_check.ATTEMPTS


def test_a_full_store_is_an_outage_that_asks_for_room():
    says = pytest.raises(ServiceDownError, match=r"is full \(XMinioStorageFull\): give its disks room")
    with told_store(PUT=[(507, error("XMinioStorageFull"))]) as store, says:
        check(store.settings(), writes=True)


def test_nobody_who_listens_is_an_outage():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = Settings(
            lake_uri="s3://lake",
            s3_endpoint_url=f"http://127.0.0.1:{unused.getsockname()[1]}",
            s3_access_key="a",  # type: ignore[arg-type]
            s3_secret_key="b",  # type: ignore[arg-type]
        )
        with pytest.raises(ServiceDownError, match="`S3_ENDPOINT_URL` must be the address of a store that runs"):
            check(settings)


def test_a_store_that_never_answers_is_given_up(monkeypatch):
    assert s3_check.ATTEMPTS * (s3_check.CONNECT_SECONDS + s3_check.ANSWER_SECONDS) < 30
    monkeypatch.setattr(s3_check, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts for it
        settings = Settings(
            lake_uri="s3://lake",
            s3_endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
            s3_access_key="a",  # type: ignore[arg-type]
            s3_secret_key="b",  # type: ignore[arg-type]
        )
        with pytest.raises(ServiceDownError, match="no answer within"):
            check(settings)


def test_who_commits_to_tables_asks_whether_a_second_put_is_refused():
    with told_store(PUT=[(412, error("PreconditionFailed"))]) as store:
        check(store.settings(), writes=True)
        assert store.asked[1:] == ["PUT /lake/below/pipeline-metadata/store_probe *"]
    with told_store(PUT=[(200, ""), (412, error("PreconditionFailed"))]) as store:  # the first start of all
        check(store.settings(), writes=True)
        assert len(store.asked) == 3


@pytest.mark.parametrize("answer", [(200, ""), (501, error("NotImplemented"))])
def test_a_store_that_ignores_the_condition_is_refused(answer):
    with told_store(PUT=[answer]) as store, pytest.raises(ConfigurationError, match="ignores If-None-Match"):
        check(store.settings(), writes=True)


def test_credentials_that_may_only_read_are_named_where_tables_are_written():
    with told_store(PUT=[(403, error("AccessDenied"))]) as store:
        check(store.settings())
        with pytest.raises(ConfigurationError, match="not write to the bucket"):
            check(store.settings(), writes=True)
