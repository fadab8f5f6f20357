"""A lake that is a folder: what a killed PUT has left is removed, and nothing that is being written."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from tests.rigs.settings_of import settings_of

FOLDER = "bronze/orders/created_date=2026-11-01"
KILLED = """
import os, signal, sys
import pyarrow as pa
from platform_core.lake.lake import Lake
from platform_core.lake import store
from tests.rigs.settings_of import settings_of

def wait(descriptor):
    print(flush=True)
    signal.pause()

store.os.fsync = wait
store._make_folder = lambda folder: os.makedirs(folder, exist_ok=True)
store.LakeStore(Lake(settings_of({"LAKE_URI": sys.argv[1]}))).put(sys.argv[2], pa.py_buffer(b"rows"))
"""


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    return LakeStore(Lake(settings_of({"LAKE_URI": str(tmp_path)})))


def test_what_a_live_process_writes_stays_and_what_a_killed_one_left_goes(store: LakeStore, tmp_path: Path) -> None:
    store.put(f"{FOLDER}/part-a.parquet", pa.py_buffer(b"rows"))
    (tmp_path / FOLDER / ".part-b.parquet.crc").write_bytes(b"")  # of another program
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), f"{FOLDER}/part-c.parquet"], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    leftover = tmp_path / FOLDER / ".part-c.parquet.tmp"
    assert store.remove_leftovers(["bronze/orders", "bronze/never_there"]) == 0 and leftover.exists()
    writer.kill()
    writer.wait()
    writer.stdout.close()
    assert store.remove_leftovers(["bronze/orders"]) == 1 and not leftover.exists()
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == [".part-b.parquet.crc", "part-a.parquet"]


def test_a_writer_whose_file_is_removed_before_its_lock_tries_again(
    store: LakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(*_: object) -> None:
        (tmp_path / FOLDER / ".part-a.parquet.tmp").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removed)
        with pytest.raises(TransientError, match="Try again"):
            store.put(f"{FOLDER}/part-a.parquet", pa.py_buffer(b"rows"))
    store.put(f"{FOLDER}/part-a.parquet", pa.py_buffer(b"rows"))
    assert store.read(f"{FOLDER}/part-a.parquet") == pa.py_buffer(b"rows")


@pytest.mark.parametrize("then", [None, "The sink keeps the records."])
def test_what_becomes_of_a_failure_is_said_by_who_asked(tmp_path: Path, then: str | None) -> None:
    (tmp_path / "lake").write_text("a file in the way")
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path / "lake")}))
    store = LakeStore(lake) if then is None else LakeStore(lake, then)
    for ask in (lambda: store.put("a/b", pa.py_buffer(b"1")), lambda: store.read("a/b"), lambda: store.delete("a/b")):
        with pytest.raises(TransientError) as failure:
            ask()
        assert str(failure.value).endswith(then or "Try again; runs and sensors do so by themselves.")
        assert ("sink" in str(failure.value)) is (then is not None)
