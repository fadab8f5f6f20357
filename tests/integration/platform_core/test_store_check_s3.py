"""The check at start against a real S3 server: what is right passes, and each wrong variable is named."""

from __future__ import annotations

import pytest

from infra.embedded.services.object_store import ObjectStore
from platform_core.errors import ConfigurationError
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings


def test_a_store_with_conditional_writes_passes_at_the_first_start_and_the_next(object_store: ObjectStore):
    access = store_access(Settings.of(object_store.env() | {"LAKE_URI": "s3://lake/checked"}))
    access.check(writes=True)
    access.check(writes=True)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("S3_ACCESS_KEY", "nobody", "correct `S3_ACCESS_KEY`"),
        ("S3_SECRET_KEY", "hunter2", "`S3_SECRET_KEY` is not the secret"),
        ("LAKE_URI", "s3://lakes/checked", "no bucket `lakes`"),
    ],
)
def test_a_wrong_variable_is_named(object_store: ObjectStore, variable: str, value: str, says: str):
    access = store_access(Settings.of(object_store.env() | {variable: value}))
    with pytest.raises(ConfigurationError, match=says) as caught:
        access.check(writes=False)
    assert "hunter2" not in str(caught.value) and object_store.env()["S3_SECRET_KEY"] not in str(caught.value)
