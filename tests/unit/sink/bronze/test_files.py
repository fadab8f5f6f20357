from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from sink.bronze import writer
from sink.bronze.arrow import to_table
from sink.bronze.file import FileState
from sink.bronze.files import PARALLEL_WRITES, PendingFiles
from sink.bronze.journal import Journal
from sink.bronze.ledger import Ledger
from sink.bronze.writer import Writer
from sink.records.buffer import ROW_OVERHEAD_BYTES, Buffer, SealReason
from sink.records.decoding import Decoder, Record
from sink.watching.metrics import SinkMetrics
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryPublisher, MemoryStore
from tests.rigs.sink.samples import EVENT, NOW, encoded, rows_of

P0, P1 = ("raw-events", 0), ("raw-events", 1)


class Rig:
    def __init__(self, catalog, settings) -> None:
        self.store, self.publisher = MemoryStore(), MemoryPublisher()
        self.metrics = SinkMetrics(0.0, 60.0)
        self.domain = domain = catalog["events"]
        lake, clock = Lake(settings), FakeClock(NOW)
        self._decoder = Decoder(domain, settings.sink_max_record_bytes, timedelta(days=1))
        journal = Journal(self.store, lake.sink_journal, clock)
        self.files = PendingFiles(Writer(lake, [domain], clock), journal, self.store, self.metrics)
        self.ledger = Ledger(self.publisher)

    def seal(self, *rows: tuple[int, int]):
        buffer = Buffer("raw-events", date(2026, 3, 1), 0.0)
        for partition, offset in rows:
            record = self._decoder.decode(b"k", encoded(EVENT), NOW)
            assert isinstance(record, Record)
            buffer.add(rows_of((partition, offset, record)))
        self.files.add(buffer, SealReason.ROWS)
        return self.files.waiting[-1]

    def announce(self) -> None:
        self.files.announce(self.ledger)
        self.publisher.poll()


@pytest.fixture
def rig(catalog, tmp_path):
    rig = Rig(catalog, Settings(lake_uri=str(tmp_path)))
    yield rig
    rig.files.close(wait=True)


def test_a_file_goes_all_its_way_and_leaves_no_trace(rig):
    file = rig.seal((0, 0), (1, 5))
    assert rig.files.min_pending_offsets() == {P0: 0, P1: 5} and rig.files.rows == 2
    assert rig.files.size == 2 * (200 + ROW_OVERHEAD_BYTES)
    rig.files.put(0.0)
    assert file.state == "put" and list(rig.store.files) == [file.name] and len(rig.store.journal) == 1
    assert rig.files.min_pending_offsets() == {} and (rig.files.rows, rig.files.size) == (0, 0)
    assert rig.files.oldest is None and rig.files.unannounced == 1
    rig.announce()
    rig.files.note_committed({P0: 1, P1: 5})
    assert file.state == "announced"
    rig.files.note_committed({P0: 1, P1: 6})
    rig.files.close(wait=True)
    assert file.state == "done" and not rig.store.journal


def test_the_journal_keeps_a_file_until_the_ledger_has_confirmed_it(rig):
    file = rig.seal((0, 0))
    rig.files.put(0.0)
    rig.publisher.confirming = False
    rig.announce()
    rig.files.note_committed({P0: 1})
    assert file.state == "committed" and rig.store.journal
    rig.publisher.confirming = True
    rig.publisher.poll()
    rig.files.note_committed({P0: 1})
    rig.files.close(wait=True)
    assert file.state == "done" and not rig.store.journal


def test_nothing_is_put_that_the_journal_does_not_name(rig):
    file = rig.seal((0, 0))
    rig.store.failing = True
    rig.files.put(0.0)
    assert file.state is FileState.SEALED and not rig.store.puts
    assert rig.files.backoff.active and rig.metrics.registry.get_sample_value("pdp_sink_store_failures_total") == 1


def test_an_outage_ends_the_attempt_and_the_rest_waits(rig):
    files = [rig.seal((0, offset)) for offset in range(2 * PARALLEL_WRITES)]
    rig.store.loses_answer = True
    rig.files.put(0.0)
    assert {file.state for file in files} == {FileState.NOTED} and len(rig.store.puts) == PARALLEL_WRITES
    assert rig.files.min_pending_offsets() == {P0: 0} and rig.files.waiting == files
    before = dict(rig.store.files)
    rig.store.loses_answer = False
    rig.files.put(0.0)
    assert {file.state for file in files} == {FileState.PUT} and not rig.files.waiting
    assert len(rig.store.files) == len(files)
    assert all(rig.store.files[name].equals(data) for name, data in before.items()), "same name, same bytes"
    assert len(rig.store.journal) == 1, "one entry for the group"


def test_rows_of_a_lost_partition_are_dropped_and_the_rest_is_another_file(rig):
    file = rig.seal((0, 0), (1, 5))
    rig.store.failing_puts = True
    rig.files.put(0.0)
    before = file.name
    rig.files.revoke({P1})
    rig.store.failing_puts = False
    rig.files.put(0.0)
    assert rig.store.offsets() == [(0, 0)] and file.name != before and file.state is FileState.PUT
    assert len(rig.store.journal) == 2, "the old entry is the next owner's"


def test_rows_that_an_earlier_put_has_stored_all_the_same_are_not_written_again(rig):
    file = rig.seal((0, 0), (1, 5))
    rig.store.loses_answer = True
    rig.files.put(0.0)
    rig.files.revoke({P1})
    rig.store.loses_answer = False
    rig.files.put(0.0)
    assert rig.store.offsets() == [(0, 0), (1, 5)] and file.state is FileState.IN_ANOTHER
    assert rig.files.min_pending_offsets() == {} and rig.files.unannounced == 0, "its next owner announces it"


def test_a_file_of_lost_partitions_alone_is_forgotten(rig):
    waiting = rig.seal((1, 5))
    rig.files.revoke({P1})
    assert waiting.state is FileState.LEFT and not rig.files.waiting
    rig.files.put(0.0)
    assert not rig.store.puts


def test_a_stored_file_of_a_lost_partition_stays_in_the_journal(rig):
    file = rig.seal((0, 0), (1, 5))
    rig.files.put(0.0)
    rig.files.revoke({P1})
    rig.announce()
    rig.files.note_committed({P0: 1, P1: 6})
    rig.files.close(wait=True)
    assert file.state is FileState.LEFT and len(rig.store.journal) == 1
    assert len(rig.publisher.records["processed-events"]) == 1


def test_a_file_that_is_done_stays_done_when_its_partition_is_lost_in_the_same_poll(rig):
    file = rig.seal((0, 0))
    rig.files.put(0.0)
    rig.files.note_committed({P0: 1})
    rig.announce()  # the ledger's confirmation comes inside the poll that loses the partition
    assert file.state == "done"
    rig.files.revoke([P0])
    rig.files.note_committed({})
    rig.files.close(wait=True)
    assert file.state == "done" and not rig.store.journal


def test_a_full_queue_to_the_ledger_loses_no_announcement(rig):
    rig.seal((0, 0))
    rig.seal((0, 1))
    rig.files.put(0.0)
    rig.publisher.full = True
    with pytest.raises(TransientError, match="full"):
        rig.announce()
    rig.publisher.full = False
    rig.announce()
    assert len(rig.publisher.records["processed-events"]) == 2 and rig.files.unannounced == 0


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([(1, 2), (0, 1), (0, 1)])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1))
def test_the_ledger_and_the_footer_have_a_files_offsets_however_they_came(rig, origins):
    file = rig.seal(*origins)
    record, data = Writer(Lake(Settings(lake_uri="/nowhere")), [rig.domain], FakeClock(NOW)).encode(file, "a/b.parquet")
    expected = {
        p: OffsetRanges.from_offsets(offset for of, offset in origins if of == p) for p in {p for p, _ in origins}
    }
    table = pq.read_table(pa.BufferReader(data))
    assert record.offsets == expected
    assert BronzeFooter.from_metadata(table.schema.metadata).offsets == expected
    rows = zip(table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True)
    assert list(rows) == sorted(origins)


def test_texts_beyond_what_arrow_orders_are_ordered_before_they_are_arrow(rig, monkeypatch):
    ordered = []

    def noted(contract, schema, topic, rows, now):
        ordered.append(list(rows.offsets))
        return to_table(contract, schema, topic, rows, now)

    monkeypatch.setattr(writer, "to_table", noted)
    monkeypatch.setattr(writer, "TAKEN_BYTES", 250, raising=False)
    rig.seal((0, 1), (0, 0))
    rig.seal((0, 3), (0, 4), (0, 2))
    rig.files.put(0.0)
    assert sorted(ordered) == [[1, 0], [2, 3, 4]]
