"""A process whose lake is on gs:// says at its start what is wrong with its variables, in one sentence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_core.errors import ConfigurationError, ServiceDownError
from platform_core.lake.gcs_check import AskedGcsBucket, check_bucket
from platform_core.lake.lake import Lake
from platform_core.lake.paths import STORE_PROBE
from tests.rigs.gcs.service import GcsService
from tests.rigs.settings_of import settings_of


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsService]:
    with GcsService(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture
def gcs(service: GcsService) -> Iterator[GcsService]:
    yield service
    service.answer_everything(None)


def check(env: dict[str, str], *, writes: bool = True) -> None:
    Lake(settings_of({"GCS_RETRY_SECONDS": 0.5, **env})).store.check(writes=writes)


def test_a_bucket_that_answers_is_right_though_it_is_empty(gcs: GcsService) -> None:
    check(gcs.env("new"), writes=False)
    check(gcs.env("new"))
    check(gcs.env("new"))
    lake = Lake(settings_of(gcs.env("new")))
    assert [info.path for info in lake.filesystem.get_file_info([lake.path(STORE_PROBE)])] == [
        f"lake/new/{STORE_PROBE}"
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LAKE_URI": "gs://other/below"}, "has no bucket `other`: create it, or correct the bucket in `LAKE_URI`"),
        ({"GCS_ENDPOINT_URL": "http://127.0.0.1:9"}, "is not reached: Connection refused"),
        ({"GCS_ENDPOINT_URL": "https://store.invalid"}, "is not reached: "),
    ],
)
def test_a_wrong_variable_is_named(gcs: GcsService, wrong: dict[str, str], said: str) -> None:
    started = time.monotonic()
    with pytest.raises((ConfigurationError, ServiceDownError)) as caught:
        check({**gcs.env(), **wrong})
    assert time.monotonic() - started < 30
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, ConfigurationError, "does not accept the credentials of this process"),
        (403, ConfigurationError, "lets these credentials not list the bucket `lake`"),
        (400, ConfigurationError, "answers 400"),
        (503, ServiceDownError, "is not reached: it answers 503"),
    ],
)
def test_what_the_store_refuses_is_translated(gcs: GcsService, status: int, kind: type[Exception], said: str) -> None:
    gcs.answer_everything(status)
    with pytest.raises(kind) as caught:
        check(gcs.env())
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


class Says:
    """Stands for a file system whose client ends with an error that no emulator causes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_file_info(self, _selector: object) -> None:
        raise OSError(self._text)


def test_credentials_that_are_nowhere_are_asked_for_by_name(tmp_path: Path) -> None:
    no_token = "Generic GCS error\n ↳ Error performing token request: Error performing GET http://metadata in 10s"
    asked = AskedGcsBucket("gs://lake", None, key_file=False)
    with pytest.raises(ConfigurationError, match="Workload Identity, or name the key"):
        check_bucket(asked, Says(no_token), Says(""), writes=False)  # type: ignore[arg-type]
