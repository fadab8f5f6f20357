from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_core.domain.bronze_schema import PLATFORM_COLUMNS, bronze_schema
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from platform_core.settings import Settings
from platform_kafka.records import kafka_timestamp
from sink.loop import Sink
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryBroker, MemoryMessage, MemoryPublisher
from tests.rigs.sink.samples import EVENT, NOW, encoded


@pytest.fixture
def lake(tmp_path):
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


def test_a_file_lies_where_the_lake_finds_it_and_has_the_columns_of_the_schema(catalog, lake):
    settings = Settings(lake_uri=lake.root, sink_flush_buffer_size=2)
    domain, clock = catalog["events"], FakeClock(NOW)
    broker = MemoryBroker({"raw-events": 1})
    sink = Sink([domain], broker, MemoryPublisher(), LakeStore(lake), settings, clock)
    broker.append("raw-events", b"\0\0\0\0\7" + encoded(EVENT, new="x"), key=b"7")
    broker.append("raw-events", encoded(EVENT), key=b"8", timestamp=(0, -1))
    broker.subscribe(["raw-events"], sink)
    sink.step()

    ((day, (file,)),) = lake.list_bronze(domain).items()
    assert day == date(2026, 3, 1)
    assert re.fullmatch(
        r"bronze/events/event_date=2026-03-01/part-20260302T120000000000Z-[0-9a-f]{8}\.parquet", file.name
    )
    table = pq.read_table(lake.path(file.name), filesystem=lake.filesystem, partitioning=None)
    assert table.schema.equals(bronze_schema(domain.contract))
    assert table.schema.names == [*domain.contract.by_name, *(field.name for field in PLATFORM_COLUMNS)]
    metadata = pq.read_metadata(lake.path(file.name))
    assert metadata.metadata[b"pdp.domain"] == b"events"
    assert metadata.metadata[b"pdp.file"].decode() == "/".join(file.name.split("/")[-2:])
    assert metadata.row_group(0).column(0).compression == "SNAPPY"
    group = metadata.row_group(0)
    columns = {
        column.path_in_schema: column.has_dictionary_page for column in map(group.column, range(group.num_columns))
    }
    assert not columns["event_id"] and not columns["_offset"] and not columns["event_timestamp"]
    assert columns["event_type"] and columns["_partition"] and columns["_ingested_at"] and columns["_topic"]
    first, second = table.to_pylist()
    assert first | dict.fromkeys(EVENT) == dict.fromkeys(EVENT) | {
        "_topic": "raw-events",
        "_partition": 0,
        "_offset": 0,
        "_kafka_timestamp": datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC),
        "_key": "7",
        "_schema_id": 7,
        "_ingested_at": NOW,
        "_extra": '{"new":"x"}',
    }
    assert (second["_kafka_timestamp"], second["_schema_id"], second["_extra"]) == (None, None, None)
    assert not list(Path(lake.root).rglob(".*"))


@pytest.mark.parametrize("milliseconds", [-1, -(2**63), 2**63 - 1, 253_402_300_800_000])
def test_a_kafka_timestamp_without_sense_is_none(milliseconds):
    assert kafka_timestamp(MemoryMessage("t", 0, 0, b"", b"", (1, milliseconds), None)) is None


def test_a_local_put_that_breaks_leaves_nothing_that_a_reader_sees(lake, tmp_path):
    store = LakeStore(lake)
    store.put("bronze/events/a.parquet", pa.py_buffer(b"1"))
    (tmp_path / "lake/bronze/events/b.parquet").mkdir()
    with pytest.raises(TransientError, match="Try again"):
        store.put("bronze/events/b.parquet", pa.py_buffer(b"2"))
    assert [p.name for p in (tmp_path / "lake/bronze/events").iterdir() if p.is_file()] == ["a.parquet"]


def test_a_store_that_does_not_exist_is_an_outage(tmp_path):
    (tmp_path / "lake").write_text("a file in the way")
    with pytest.raises(TransientError):
        LakeStore(Lake(Settings(lake_uri=str(tmp_path / "lake")))).put("x/y", pa.py_buffer(b"1"))


def test_a_file_is_on_the_disk_with_all_its_folders_before_the_put_returns(lake, tmp_path, monkeypatch):
    synced: list[tuple[str, bool]] = []
    fsync, target = os.fsync, tmp_path / "lake" / "bronze" / "d=1" / "part-1.parquet"

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((str(path.relative_to(tmp_path)), target.exists()))
        fsync(descriptor)

    monkeypatch.setattr("platform_core.lake.store.os.fsync", note)
    lake.prepare()
    LakeStore(lake).put("bronze/d=1/part-1.parquet", pa.py_buffer(b"1"))
    assert synced == [
        ("lake", False),
        ("lake/bronze", False),
        ("lake/bronze/d=1/.part-1.parquet.tmp", False),
        ("lake/bronze/d=1", True),
    ]
    synced.clear()
    LakeStore(lake).put("bronze/d=1/part-2.parquet", pa.py_buffer(b"1"))
    assert [path for path, _ in synced] == ["lake/bronze/d=1/.part-2.parquet.tmp", "lake/bronze/d=1"]
