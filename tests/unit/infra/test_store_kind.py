"""Where the lake of `make demo` and `make up` is."""

from __future__ import annotations

import pytest

from infra.embedded.__main__ import STORES
from infra.embedded.commands.store_kind import KINDS, services_with, store_of
from infra.embedded.errors import StackError
from infra.embedded.services.object_store import ObjectStore
from infra.embedded.stack import ALL_SERVICES, OBJECT_STORE
from platform_core.settings import Settings


def test_only_a_bucket_needs_a_server():
    assert services_with("folder") == ALL_SERVICES
    assert set(services_with("s3")) == {*ALL_SERVICES, OBJECT_STORE}
    assert STORES == KINDS


@pytest.mark.parametrize(("first", "other"), [("folder", "s3"), ("s3", "folder")])
def test_the_lake_stays_where_the_first_start_put_it(tmp_path, first, other):
    assert store_of(tmp_path, first) == first
    (tmp_path / "stack.lock").touch()
    if first == "s3":
        (tmp_path / OBJECT_STORE).mkdir()
    assert store_of(tmp_path, None) == store_of(tmp_path, first) == first
    with pytest.raises(StackError, match=f"asks for a .*STORE={other}.*leave STORE out"):
        store_of(tmp_path, other)


def test_a_platform_begins_in_a_folder(tmp_path):
    assert store_of(tmp_path / "nothing", None) == "folder"


def test_the_bucket_of_this_machine_says_everything_that_a_shell_may_say_of_another_store(tmp_path):
    patience = {"S3_CONNECT_TIMEOUT_SECONDS", "S3_REQUEST_TIMEOUT_SECONDS", "S3_MAX_ATTEMPTS"}
    of_a_store = {name.upper() for name in Settings.model_fields if name.startswith("s3_")} - patience
    assert of_a_store <= set(ObjectStore(tmp_path).env())
