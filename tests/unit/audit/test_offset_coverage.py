"""The comparison of offsets on a Kafka held in memory and a Bronze of real files."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.file_offsets import FileOffsets
from audit.kafka_log import AuditLog, KafkaTopic
from audit.offset_coverage import state
from audit.offset_coverage.coverage import GRACE, HELD_BACK, Coverage
from audit.offset_coverage.state import CoverageState, Gap, PartitionCoverage, TopicCoverage
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryMessage
from tests.rigs.sink.samples import NOW

DAY = date(2026, 3, 1)
LEDGER, DLQ, RAW = "processed-events", "dlq-raw-events", "raw-events"


class MemoryLog(AuditLog):
    """Kafka: `records` are the offsets with a record in the raw topic."""

    def __init__(self) -> None:
        self.ids = {RAW: "r1", LEDGER: "l1", DLQ: "d1"}
        self.bounds = {RAW: (0, 0), LEDGER: (0, 0), DLQ: (0, 0)}
        self.group: dict[int, int] = {}
        self.messages: dict[str, list[MemoryMessage]] = defaultdict(list)
        self.records: set[int] = set()
        self.probes: list[list[list[int]]] = []
        self.out = False
        self.slow: set[str] = set()

    def produce(self, count: int) -> None:
        low, high = self.bounds[RAW]
        self.records |= set(range(high, high + count))
        self.bounds[RAW] = (low, high + count)

    def append(self, topic: str, value: bytes, headers: list | None = None) -> None:
        low, high = self.bounds[topic]
        self.messages[topic].append(MemoryMessage(topic, 0, high, b"", value, (0, 0), headers))
        self.bounds[topic] = (low, high + 1)

    def file(self, *ranges: tuple[int, int], topic: str = RAW) -> None:
        offsets = {0: OffsetRanges.of(*ranges)}
        record = LedgerRecord("events", topic, DAY, "part-0.parquet", 1, 1, offsets, NOW)
        self.append(LEDGER, record.to_json())

    def letter(self, offset: str) -> None:
        facts = {"topic": RAW, "partition": "0", "offset": offset}
        self.append(DLQ, b"", [(f"dlq.{name}", value.encode()) for name, value in facts.items() if value])

    def topics(self, names):
        if self.out:
            raise KafkaUnreachableError("out")
        return {name: KafkaTopic(self.ids[name], {0: self.bounds[name]}) for name in names if name in self.ids}

    def committed(self, name, partitions):
        return self.group

    def read(self, name, position, ends, seconds):
        for message in self.messages[name]:
            if position[0] <= message.offset() < ends[0]:
                if name in self.slow:
                    self.slow.remove(name)
                    return
                position[0] = message.offset() + 1
                yield message
        position[0] = ends[0]

    def with_records(self, name, offsets, seconds=None):
        self.probes += [ranges.to_json() for ranges in offsets.values()]
        return {p: OffsetRanges.from_offsets(self.records) & ranges for p, ranges in offsets.items()}


class CoverageRig:
    def __init__(self, catalog: Catalog, root: str) -> None:
        self.lake = Lake(Settings(lake_uri=root))
        self.kafka, self.clock = MemoryLog(), FakeClock(NOW)
        self.catalog = Catalog([catalog["events"]])
        self.coverage = self.restart()

    def restart(self) -> Coverage:
        """Begin a process, which remembers nothing but the state."""
        return Coverage(Settings(), self.lake, self.catalog, clock=self.clock, kafka=self.kafka)

    def look(self, minutes: float = 0):
        self.clock.advance(minutes=minutes)
        report = self.restart().update()
        return report, report.domains["events"]

    def commit(self, offset: int) -> None:
        self.kafka.group[0] = offset

    def gaps(self, minutes: float = 3) -> list[tuple[int, int, bool]]:
        """Look twice: what the first look saw is judged by the second."""
        self.look(minutes)
        return [(gap.first, gap.last, gap.still_in_kafka) for gap in self.look(minutes)[1].gaps]

    def put(self, name: str, offsets: list[int], footer: dict | None = None, minutes_ago: int = 0) -> None:
        path = self.lake.path(f"{self.lake.bronze_partition(self.catalog['events'], DAY)}/{name}")
        partitions = pa.array([0] * len(offsets), pa.int32())
        table = pa.table({"_topic": [RAW] * len(offsets), "_partition": partitions, "_offset": offsets})
        if footer is not None:
            table = table.replace_schema_metadata({"pdp.domain": "events", "pdp.offsets": json.dumps(footer)})
        self.lake.filesystem.create_dir(path.rpartition("/")[0])
        pq.write_table(table, path)
        moment = (self.clock.now() - timedelta(minutes=minutes_ago)).timestamp()
        os.utime(path, (moment, moment))

    @property
    def partition(self) -> PartitionCoverage:
        return state.load(self.lake).topics[RAW].partitions[0]


@pytest.fixture
def rig(catalog, tmp_path) -> CoverageRig:
    return CoverageRig(catalog, str(tmp_path))


def test_files_and_dead_letters_cover_what_is_committed(rig):
    rig.kafka.produce(10)
    rig.kafka.file((0, 3), (6, 8))
    rig.kafka.file((4, 4))
    rig.kafka.letter("5")
    rig.kafka.letter("-1")  # a producer's own: its record never was in the topic
    rig.kafka.letter("")
    rig.kafka.file((0, 99), topic="raw-of-somebody-else")
    rig.commit(9)  # 9 waits in a buffer
    report, found = rig.look()
    assert (report.complete, found.accounted, found.waiting, found.gaps) == (True, 9, 0, ())
    assert rig.partition.accounted.to_json() == [[0, 8]]
    assert state.load(rig.lake).read_to == {"processed-events/l1": {0: 3}, "dlq-raw-events/d1": {0: 3}}


def test_what_is_known_of_a_domain_stays_while_its_entry_is_broken(rig):
    rig.kafka.produce(10)
    rig.kafka.file((0, 3), (7, 9))
    rig.commit(10)
    assert rig.gaps() == [(4, 6, True)]
    rig.kafka.letter("5")
    before = state.load(rig.lake)
    whole, rig.catalog = rig.catalog, Catalog([], {"events": "no cron"})
    rig.restart().update()
    after = state.load(rig.lake)
    assert after.topics[RAW].partitions[0].gaps == before.topics[RAW].partitions[0].gaps
    assert after.read_to == before.read_to
    rig.catalog = whole
    assert rig.look()[1].accounted == 8


def test_a_hole_is_a_gap_after_the_grace_period_and_until_it_is_filled(rig):
    rig.kafka.produce(10)
    rig.kafka.file((0, 3), (7, 9))
    rig.commit(10)
    assert rig.look()[1].waiting == 3
    assert rig.look(GRACE.total_seconds() / 60 - 0.1)[1].gaps == ()
    assert rig.kafka.probes == []
    (gap,) = rig.look(0.2)[1].gaps
    assert gap == Gap("events", RAW, 0, 4, 6, rig.clock.now(), True)
    rig.kafka.file((4, 5))
    assert rig.gaps() == [(4, 6, True)], "its bounds stay, so that it is one alert"
    rig.kafka.bounds[RAW] = (6, 10)
    assert rig.gaps() == [(4, 6, True)], "what is still missing is still there"
    rig.kafka.bounds[RAW] = (7, 10)
    assert rig.gaps() == [(4, 6, False)]
    rig.kafka.file((4, 6))
    assert rig.gaps() == []


def test_a_file_of_a_date_whose_compaction_note_cannot_be_read_is_no_gap(rig):
    rig.kafka.produce(6)
    rig.put("compacted-1.parquet", [0, 1, 2, 3])
    rig.put(rig.lake.compaction_note, [])
    rig.commit(6)
    assert rig.gaps() == [(4, 5, True)]


def test_a_late_ledger_record_closes_a_hole_and_younger_holes_wait_their_own_time(rig):
    rig.kafka.produce(10)
    rig.commit(4)
    assert rig.look()[1].waiting == 4
    rig.commit(10)
    assert rig.look(1.5)[1].waiting == 10
    rig.kafka.file((0, 2))
    _, found = rig.look(1)
    assert [(gap.first, gap.last) for gap in found.gaps] == [(3, 3)]
    assert found.waiting == 6
    assert rig.look(1.9)[1].waiting == 6
    assert [(gap.first, gap.last) for gap in rig.look(0.2)[1].gaps] == [(3, 3), (4, 9)]


def test_offsets_without_a_record_are_no_gap(rig):
    rig.kafka.produce(10)
    rig.kafka.records -= {3, 4, 9}
    rig.kafka.file((0, 2), (6, 8))
    rig.commit(10)
    assert rig.gaps() == [(5, 5, True)]
    assert rig.kafka.probes[0] == [[3, 5], [9, 9]]
    count = len(rig.kafka.probes)
    rig.look(5)
    assert len(rig.kafka.probes) == count, "nothing is asked again"


def test_a_file_without_a_ledger_record_is_found_in_bronze_markers_between_included(rig):
    rig.kafka.produce(10)
    rig.kafka.records -= {4}
    rig.put("a.parquet", [*range(4), *range(5, 10)], minutes_ago=100_000)  # before the first look it may be any file
    rig.commit(10)
    assert rig.gaps() == []
    assert rig.look()[1].waiting == 0


def test_bronze_is_searched_in_what_was_written_around_the_commit(rig):
    rig.look()
    rig.look(3)
    rig.put("old.parquet", [0, 1], minutes_ago=HELD_BACK.total_seconds() / 60 + 4)
    rig.put("new.parquet", [2, 3], minutes_ago=HELD_BACK.total_seconds() / 60 - 1)
    rig.kafka.produce(4)
    rig.commit(4)
    assert rig.gaps() == [(0, 1, True)]


def test_a_search_that_is_cut_names_no_gap_and_goes_on_at_the_next_look(rig, monkeypatch):
    rig.put("a.parquet", [0, 1])
    rig.put("b.parquet", [2, 3])
    rig.kafka.produce(6)
    rig.commit(6)
    rig.coverage.update()
    opened = []
    whole = FileOffsets.read

    def one_a_look(self, lake, names, deadline):
        (name, *more) = [each for each in names if each not in opened]
        opened.append(name)
        whole(self, lake, [name])
        return not more

    monkeypatch.setattr(FileOffsets, "read", one_a_look)
    rig.clock.advance(minutes=3)
    assert rig.coverage.update().domains["events"].gaps == ()
    rig.clock.advance(minutes=1)
    (gap,) = rig.coverage.update().domains["events"].gaps
    assert (gap.first, gap.last, len(opened)) == (4, 5, 2)


def test_what_retention_dropped_is_said_to_be_dropped(rig):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.look()
    rig.kafka.bounds[RAW] = (4, 10)
    rig.kafka.records -= {0, 1, 2, 3}
    assert rig.gaps() == [(0, 3, False), (4, 9, True)]


def test_the_comparison_begins_at_the_start_of_the_log_and_ignores_what_came_before(rig):
    rig.kafka.bounds[RAW] = (100, 110)
    rig.kafka.records = set(range(100, 110))
    rig.kafka.file((0, 50))
    rig.kafka.file((90, 104))
    rig.kafka.file((104, 109))
    rig.commit(110)
    _, found = rig.look()
    assert (found.accounted, found.waiting) == (10, 0)


def test_a_group_without_commits_owes_nothing(rig):
    rig.kafka.produce(10)
    assert rig.look()[1].waiting == 0


@pytest.mark.parametrize("new_id", ["r2", "r1"])
def test_a_recreated_topic_begins_anew(rig, caplog, new_id):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.kafka.file((0, 5), (8, 9))
    assert rig.gaps() == [(6, 7, True)]
    rig.kafka.ids[RAW], rig.kafka.bounds[RAW] = new_id, (0, 4)
    rig.kafka.file((0, 1))
    rig.commit(4)
    _, found = rig.look()
    assert (found.accounted, found.waiting, found.gaps) == (2, 2, ())
    assert "topic_recreated" in caplog.text
    rig.look()
    assert state.load(rig.lake).topics[RAW].recreated


def test_a_recreated_ledger_is_read_from_its_begin(rig):
    rig.kafka.file((0, 0))
    rig.look()
    rig.kafka.ids[LEDGER], rig.kafka.bounds[LEDGER] = "l2", (0, 0)
    rig.kafka.messages[LEDGER].clear()
    rig.kafka.produce(3)
    rig.kafka.file((0, 1))
    rig.kafka.file((2, 2))
    rig.commit(3)
    assert rig.look()[1].accounted == 3


def test_without_kafka_the_last_look_is_reported_and_kept(rig):
    rig.kafka.produce(10)
    rig.commit(10)
    before = rig.gaps()
    looked_at, stored = rig.clock.now(), state.load(rig.lake)
    rig.kafka.out = True
    report, found = rig.look(10)
    assert (report.complete, report.looked_at) == (False, looked_at)
    assert [(g.first, g.last, g.still_in_kafka) for g in found.gaps] == before
    assert state.load(rig.lake) == stored


@pytest.mark.parametrize("topic", [LEDGER, DLQ])
def test_nothing_is_judged_while_more_is_to_be_read(rig, topic):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.kafka.append(topic, b"")
    rig.kafka.slow.add(topic)
    report, found = rig.look()
    assert (report.complete, report.looked_at, found.waiting) == (False, None, 0)
    assert rig.look()[0].complete


def test_a_missing_ledger_is_no_evidence(rig):
    del rig.kafka.ids[LEDGER]
    rig.kafka.produce(1)
    rig.commit(1)
    report, found = rig.look()
    assert (report.complete, found.waiting) == (False, 0)


def test_an_unreadable_ledger_record_is_left_out(rig):
    for value in (b"", b"{", b"[]", b'{"topic": "raw-events", "offsets": {"0": [0, 2, 3]}}'):
        rig.kafka.append(LEDGER, value)
    rig.kafka.produce(3)
    rig.commit(3)
    report, found = rig.look()
    assert (report.complete, found.accounted, found.waiting) == (True, 0, 3)


def test_the_state_comes_back_as_it_was_stored_and_one_that_is_broken_is_none(rig, caplog):
    gap = Gap("events", RAW, 0, 3, 4, NOW, False)
    ranges = OffsetRanges.of((2, 2), (9, 11))
    partition = PartitionCoverage(start=2, committed=12, accounted=ranges, gaps=[gap], due=9, due_since=NOW)
    topics = {RAW: TopicCoverage(topic_id="y", partitions={0: partition})}
    stored = CoverageState(looked_at=NOW, read_to={"x/1": {0: 1, 5: 7}}, topics=topics)
    state.save(rig.lake, CoverageState())
    state.save(rig.lake, stored)
    assert state.load(rig.lake) == stored
    text = stored.model_dump_json()
    for broken in ("", "[]", text.replace('"start"', '"x"'), text.replace("[2,2]", "[2,2,2]"), text[:-9]):
        Path(rig.lake.path(rig.lake.offset_coverage)).write_text(broken)
        assert state.load(rig.lake) == CoverageState()
    assert "offset_coverage_unreadable" in caplog.text


def test_files_answer_by_their_columns_each_once_and_what_is_no_file_of_ours_by_its_name(rig, tmp_path):
    domain, lake = rig.catalog["events"], rig.lake
    rig.put("a.parquet", [1], {RAW: {"0": [[100, 104]]}})
    rig.put("b.parquet", [7, 5, 6])
    rig.put("c.parquet", [20], {RAW: {"0": [20, 20, 1]}})
    broken = tmp_path / lake.bronze_partition(domain, DAY) / "broken.parquet"
    broken.write_bytes(b"PAR1")
    pq.write_table(pa.table({"user_id": [1.5], "name": ["a"]}), broken.with_name("foreign.parquet"))
    empty = pa.table({"_topic": [None], "_partition": pa.array([0], pa.int32()), "_offset": [1]})
    pq.write_table(empty, broken.with_name("nobody.parquet"))
    names = [file.name for file in lake.list_date(domain, DAY)]
    files = FileOffsets()
    assert files.read(lake, names[:2])
    assert not files.read(lake, names, deadline=0)
    assert files.read(lake, [*names, "gone.parquet"])
    assert files.offsets[RAW, 0].to_json() == [[1, 1], [5, 7], [20, 20]]
    assert (files.rows, [Path(name).name for name in files.lying]) == (5, ["a.parquet", "c.parquet"])
    assert [Path(name).name for name in files.unreadable] == [
        "broken.parquet",
        "foreign.parquet",
        "nobody.parquet",
    ]
