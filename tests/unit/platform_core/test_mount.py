"""A disk that is not mounted is neither a new lake nor a loss."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.mount import MARKER, LakeNotMountedError, is_marked, open_lake, require_lake, require_marked
from platform_core.lake.store import LakeStore
from tests.rigs.settings_of import settings_of


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(settings_of({"LAKE_URI": str(tmp_path / "lake")}))


def unexpected() -> bool:
    raise AssertionError("nothing needs to be asked")


def test_a_new_lake_is_marked_once(lake: Lake) -> None:
    assert not is_marked(lake)
    assert not require_marked(lake, seen=False)
    with pytest.raises(LakeNotMountedError, match="which the sink writes"):
        require_lake(lake)
    open_lake(lake, lambda: False)
    open_lake(lake, unexpected)
    assert require_marked(lake, seen=True)
    require_lake(lake)


def test_a_lake_from_before_there_were_markers_gets_one(lake: Lake) -> None:
    Path(lake.path("bronze/orders")).mkdir(parents=True)
    open_lake(lake, unexpected)
    assert is_marked(lake)


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_folder_after_a_commit_is_no_lake(lake: Lake, exists: bool) -> None:
    if exists:
        lake.prepare()
    with pytest.raises(LakeNotMountedError, match=f"no file `{MARKER}`, though the sink has committed"):
        open_lake(lake, lambda: True)
    assert not is_marked(lake)


def test_a_running_sink_writes_nothing_into_the_folder_below_a_disk_that_is_gone(lake: Lake) -> None:
    open_lake(lake, lambda: False)
    store = LakeStore(lake)
    store.put("bronze/a.parquet", pa.py_buffer(b"1"))
    Path(lake.root).rename(f"{lake.root}.unmounted")
    lake.prepare()
    with pytest.raises(TransientError, match="which it had"):
        store.put("bronze/b.parquet", pa.py_buffer(b"1"))
    assert list(Path(lake.root).iterdir()) == []
    with pytest.raises(LakeNotMountedError):
        require_marked(lake, seen=True)
    Path(lake.root).rmdir()
    Path(f"{lake.root}.unmounted").rename(lake.root)
    store.put("bronze/b.parquet", pa.py_buffer(b"1"))


def test_a_bucket_needs_no_marker() -> None:
    lake = Lake(settings_of({"LAKE_URI": "s3://lake", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"}))
    open_lake(lake, unexpected)
    assert require_marked(lake, seen=True)
