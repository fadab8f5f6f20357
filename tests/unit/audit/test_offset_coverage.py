"""The watch over offsets on a Kafka and a Bronze held in memory."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.offset_coverage import bronze_files
from audit.offset_coverage.coverage import GRACE, HELD_BACK, Coverage
from audit.offset_coverage.state import CoverageState, Hole, KnownGap, Reader, StateFile, TopicState, Tracked
from platform_core.clock import FakeClock
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.topic_log import Chunk, KafkaTopic
from tests.rigs.memory_kafka import MemoryMessage
from tests.rigs.sink_samples import NOW

DAY = date(2026, 3, 1)
LEDGER, DLQ, RAW = "processed-events", "dlq-raw-events", "raw-events"
WHERE = (RAW, 0)


class MemoryLog:
    """Kafka: `records` are the offsets with a record in the raw topic."""

    def __init__(self) -> None:
        self.ids = {RAW: "r1", LEDGER: "l1", DLQ: "d1"}
        self.bounds = {RAW: (0, 0), LEDGER: (0, 0), DLQ: (0, 0)}
        self.group: dict[tuple[str, int], int] = {}
        self.messages: dict[str, list[MemoryMessage]] = defaultdict(list)
        self.records: set[int] = set()
        self.probes: list[tuple[int, int]] = []
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

    def committed(self, partitions):
        return {where: self.group[where] for where in partitions if where in self.group}

    def read(self, topic, position, ends, seconds):
        if topic in self.slow:
            return Chunk([], dict(position), complete=False)
        found = [m for m in self.messages[topic] if m.offset() >= position[0]][:2]
        end = found[-1].offset() + 1 if found else ends[0]
        return Chunk(found, {0: end}, complete=end >= ends[0])

    def extent(self, where, first, last, seconds):
        self.probes.append((first, last))
        found = [offset for offset in range(first, last + 1) if offset in self.records]
        return (found[0], found[-1]) if found else None


class CoverageRig:
    def __init__(self, catalog: Catalog, root: str) -> None:
        self.lake = Lake(Settings(lake_uri=root))
        self.kafka, self.clock = MemoryLog(), FakeClock(NOW)
        self.bronze, self.read_to, self.windows = OffsetRanges(), None, []
        self.catalog = Catalog([catalog["events"]])

    def search(self, domain, since, until, seconds):
        self.windows.append((since, until))
        return bronze_files.BronzeOffsets({WHERE: self.bronze}, 1, self.read_to)

    def look(self, minutes: float = 0):
        """Look as a new process does, which remembers nothing but the state."""
        self.clock.advance(minutes=minutes)
        watch = Coverage(Settings(), self.lake, self.catalog, clock=self.clock, kafka=self.kafka, search=self.search)
        report = watch.update()
        return report, report.domains["events"]

    def commit(self, offset: int) -> None:
        self.kafka.group[WHERE] = offset

    def gaps(self, minutes: float = 3) -> list[tuple[int, int, bool]]:
        return [(gap.first, gap.last, gap.still_in_kafka) for gap in self.look(minutes)[1].gaps]

    @property
    def state(self) -> CoverageState:
        return StateFile(self.lake).load()


@pytest.fixture
def rig(catalog, tmp_path) -> CoverageRig:
    return CoverageRig(catalog, str(tmp_path))


def test_files_and_letters_cover_what_is_committed(rig):
    rig.kafka.produce(10)
    rig.kafka.file((0, 3), (6, 8))
    rig.kafka.file((4, 4))
    rig.kafka.letter("5")
    rig.kafka.letter("-1")  # a producer's own: its record never was in the topic
    rig.kafka.letter("")
    rig.kafka.file((0, 99), topic="raw-of-somebody-else")
    rig.commit(9)  # 9 waits in a buffer
    report, found = rig.look()
    assert (report.complete, found.settled, found.waiting, found.duplicates, found.gaps) == (True, 9, 0, 0, ())
    assert rig.state.topics[RAW].partitions[0].settled.to_json() == [[0, 8]]
    assert rig.state.readers[LEDGER] == Reader("l1", {0: 3})


def test_a_hole_is_a_gap_after_the_grace_period_and_until_it_is_filled(rig):
    rig.kafka.produce(10)
    rig.kafka.file((0, 3), (7, 9))
    rig.commit(10)
    assert rig.look()[1].waiting == 3
    assert rig.look(GRACE.total_seconds() / 60 - 0.1)[1].gaps == ()
    assert (rig.kafka.probes, rig.windows) == ([], [])
    (gap,) = rig.look(0.2)[1].gaps
    assert (gap.domain, gap.topic, gap.partition, gap.first, gap.last) == ("events", RAW, 0, 4, 6)
    assert gap.still_in_kafka and gap.found_at == rig.clock.now()
    rig.kafka.file((4, 5))
    assert rig.gaps() == [(4, 6, True)], "its bounds stay, so that it is one alert"
    rig.kafka.bounds[RAW] = (6, 10)
    assert rig.gaps() == [(4, 6, True)], "what is still missing is still there"
    rig.kafka.bounds[RAW] = (7, 10)
    assert rig.gaps() == [(4, 6, False)]
    rig.kafka.file((4, 6))
    assert rig.gaps() == []
    assert rig.look()[1].duplicates == 2


def test_a_late_ledger_record_closes_a_hole_and_younger_holes_wait_their_own_time(rig):
    rig.kafka.produce(10)
    rig.commit(4)
    assert rig.look()[1].waiting == 4
    rig.commit(10)
    assert rig.look(1.5)[1].waiting == 10
    rig.kafka.file((0, 2))
    assert rig.gaps(1) == [(3, 3, True)]
    assert [(hole.first, hole.last) for hole in rig.state.topics[RAW].partitions[0].holes] == [(4, 9)]
    assert rig.gaps(1) == [(3, 3, True), (4, 9, True)]


def test_offsets_without_a_record_are_no_gap(rig):
    rig.kafka.produce(10)
    rig.kafka.records -= {3, 4, 9}
    rig.kafka.file((0, 2), (6, 8))
    rig.commit(10)
    rig.look()
    assert rig.gaps() == [(5, 5, True)]
    assert rig.kafka.probes[:2] == [(3, 5), (9, 9)]
    rig.look(1)
    assert len(rig.kafka.probes) == 3, "the third is the second look at 5; nothing is asked again"


def test_a_file_without_a_ledger_record_is_found_in_bronze_markers_between_included(rig):
    rig.kafka.produce(10)
    rig.kafka.records -= {4}
    rig.bronze = OffsetRanges.of((0, 3), (5, 9))
    rig.commit(10)
    rig.look()
    _, found = rig.look(3)
    assert (found.gaps, found.waiting, found.duplicates) == ((), 0, 0)
    assert rig.windows == [(None, None)], "before the first look every file may be it"


def test_bronze_is_searched_around_the_commit_and_from_where_a_search_was_cut(rig):
    rig.look()
    clean_at = rig.clock.now()
    rig.kafka.produce(10)
    rig.commit(10)
    rig.look(1)
    rig.read_to, rig.bronze = clean_at - timedelta(minutes=1), OffsetRanges.of((0, 1))
    assert rig.gaps() == [], "not before all of the window was looked at"
    rig.read_to, rig.bronze = None, OffsetRanges.of((2, 7))
    assert rig.gaps() == [(8, 9, True)]
    since = clean_at - HELD_BACK
    assert rig.windows == [(since, None), (since, clean_at - timedelta(minutes=1))]


def test_what_retention_dropped_is_said_to_be_dropped(rig):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.look()
    rig.kafka.bounds[RAW] = (4, 10)
    assert rig.gaps() == [(0, 3, False), (4, 9, True)]


def test_the_watch_begins_at_the_start_of_the_log_and_ignores_what_came_before(rig):
    rig.kafka.bounds[RAW] = (100, 110)
    rig.kafka.records = set(range(100, 110))
    rig.kafka.file((0, 50))
    rig.kafka.file((90, 104))
    rig.kafka.file((104, 109))
    rig.commit(110)
    _, found = rig.look()
    assert (found.settled, found.duplicates, found.waiting) == (10, 1, 0)


def test_a_group_without_commits_owes_nothing(rig):
    rig.kafka.produce(10)
    assert rig.look()[1].waiting == 0


@pytest.mark.parametrize("new_id", ["r2", "r1"])
def test_a_topic_made_anew_is_watched_anew(rig, caplog, new_id):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.kafka.file((0, 5), (8, 9))
    rig.look()
    assert rig.gaps() == [(6, 7, True)]
    rig.kafka.ids[RAW], rig.kafka.bounds[RAW] = new_id, (0, 4)
    rig.kafka.file((0, 1))
    rig.commit(4)
    _, found = rig.look()
    assert (found.settled, found.waiting, found.gaps) == (2, 2, ())
    assert "topic_made_anew" in caplog.text


def test_a_ledger_made_anew_is_read_from_its_begin(rig):
    rig.kafka.file((0, 0))
    rig.look()
    rig.kafka.ids[LEDGER], rig.kafka.bounds[LEDGER] = "l2", (0, 0)
    rig.kafka.messages[LEDGER].clear()
    rig.kafka.produce(3)
    rig.kafka.file((1, 1))
    rig.kafka.file((2, 2))
    rig.commit(3)
    assert rig.look()[1].settled == 3


def test_without_kafka_the_last_look_is_told_and_kept(rig):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.look()
    before = rig.gaps()
    looked_at, state = rig.clock.now(), rig.state
    rig.kafka.out = True
    report, found = rig.look(10)
    assert (report.complete, report.looked_at) == (False, looked_at)
    assert [(g.first, g.last, g.still_in_kafka) for g in found.gaps] == before
    assert rig.state == state


@pytest.mark.parametrize("topic", [LEDGER, DLQ])
def test_nothing_is_judged_while_more_is_to_be_read(rig, topic):
    rig.kafka.produce(10)
    rig.commit(10)
    rig.kafka.slow.add(topic)
    report, found = rig.look()
    assert (report.complete, report.looked_at, found.waiting) == (False, None, 0)
    rig.kafka.slow.clear()
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
    assert (report.complete, found.settled, found.waiting) == (True, 0, 3)


def test_the_state_comes_back_as_it_was_stored_and_one_that_is_broken_is_none(rig, caplog):
    gap = KnownGap(3, 4, NOW, False)
    tracked = Tracked(2, OffsetRanges.of((2, 2), (9, 11)), (Hole(5, 6, NOW, None), Hole(8, 8, NOW, NOW, NOW)), (gap,))
    state = CoverageState(NOW, {LEDGER: Reader("x", {0: 1, 5: 7})}, {RAW: TopicState("y", {0: tracked})}, {"events": 3})
    file = StateFile(rig.lake)
    file.save(CoverageState())
    file.save(state)
    assert file.load() == state
    for text in ("", "[]", "{}", '{"version": 2}', state.to_json().replace("settled", "x"), state.to_json()[:-9]):
        Path(rig.lake.path(rig.lake.offset_coverage)).write_text(text)
        assert file.load() == CoverageState()
    assert "offset_coverage_unreadable" in caplog.text


def put(lake: Lake, domain, name: str, offsets: list[int], footer: dict | None, minutes_ago: int) -> None:
    path = lake.path(f"{lake.bronze_partition(domain, date(2026, 3, 1))}/{name}")
    table = pa.table(
        {"_topic": [RAW] * len(offsets), "_partition": pa.array([0] * len(offsets), pa.int32()), "_offset": offsets}
    )
    if footer is not None:
        table = table.replace_schema_metadata({"pdp.domain": domain.name, "pdp.offsets": json.dumps(footer)})
    lake.filesystem.create_dir(path.rpartition("/")[0])
    pq.write_table(table, path)
    moment = (NOW - timedelta(minutes=minutes_ago)).timestamp()
    os.utime(path, (moment, moment))


def test_bronze_answers_by_footer_or_by_column_within_the_window(rig, catalog, tmp_path):
    domain, lake = catalog["events"], rig.lake
    put(lake, domain, "a.parquet", [1], {RAW: {"0": [[100, 104]]}}, minutes_ago=1)
    put(lake, domain, "b.parquet", [7, 5, 6], None, minutes_ago=2)
    put(lake, domain, "c.parquet", [20], {RAW: {"0": [20, 20, 1]}}, minutes_ago=3)
    put(lake, domain, "d.parquet", [900], None, minutes_ago=60)
    put(lake, domain, ".hidden.parquet", [901], None, minutes_ago=1)
    broken = tmp_path / lake.bronze_partition(domain, date(2026, 3, 1)) / "broken.parquet"
    broken.write_bytes(b"PAR1")
    found = bronze_files.search(lake, domain, NOW - timedelta(minutes=30), None, 10)
    assert found.offsets[WHERE].to_json() == [[5, 7], [20, 20], [100, 104]]
    assert (found.files, found.read_to) == (4, None)
    found = bronze_files.search(lake, domain, None, NOW - timedelta(minutes=2), 10)
    assert found.offsets[WHERE].to_json() == [[5, 7], [20, 20], [900, 900]]
    assert bronze_files.search(lake, catalog["orders"], None, None, 10).files == 0


def test_a_search_that_takes_too_long_says_how_far_it_came(rig, catalog):
    domain = catalog["events"]
    for number in range(10):
        put(rig.lake, domain, f"{number}.parquet", [number], None, minutes_ago=number)
    found = bronze_files.search(rig.lake, domain, None, None, 0)
    assert found.offsets[WHERE].to_json() == [[0, 7]]
    assert found.read_to == datetime(2026, 3, 2, 11, 52, tzinfo=UTC)
    assert bronze_files.search(rig.lake, domain, None, found.read_to, 9).offsets[WHERE].to_json() == [[8, 9]]
