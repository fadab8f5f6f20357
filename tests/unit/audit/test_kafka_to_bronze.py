"""Kafka → Bronze with Kafka's answers made up: clean histories raise no alarm, a planted loss is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audit import file_offsets, run
from audit.kafka_log import AuditLog, KafkaTopic
from audit.offset_coverage.state import CoverageState, Gap, PartitionCoverage, TopicCoverage, save
from audit.report import AuditReport, Kind, Reason, Stage, StageResult
from audit.run import audit
from audit.stages import kafka_to_bronze
from platform_core.lake import parquet_files
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.settings import Settings
from platform_kafka.offset_ranges import OffsetRanges
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake


class Log(AuditLog):
    """Answers as the client does, of a topic whose skipped offsets are letters and markers by turns."""

    def __init__(self, made: AuditLake) -> None:
        self.made = made
        self.id = "one"
        self.low = dict.fromkeys(made.ends, 0)
        self.commits = made.ends
        self.dead = {place for number, place in enumerate(sorted(made.skipped)) if number % 2}
        self.records: set[tuple[int, int]] = set()
        self.on_committed = lambda: None

    def topic(self, name: str) -> KafkaTopic:
        return KafkaTopic(self.id, {p: (self.low[p], end) for p, end in self.made.ends.items()})

    def committed(self, name: str, partitions: object) -> dict[int, int]:
        found = dict(self.commits)
        self.on_committed()
        return found

    def dead_letters(self, dlq: str, name: str) -> dict[int, OffsetRanges]:
        return by_partition(self.dead)

    def ledger(self, name: str) -> dict[int, OffsetRanges]:
        return {}

    def with_records(
        self, name: str, offsets: Mapping[int, OffsetRanges], seconds: float | None = None
    ) -> dict[int, OffsetRanges]:
        return by_partition(self.records)

    def close(self) -> None:
        """Nothing is open."""


def by_partition(places: set[tuple[int, int]]) -> dict[int, OffsetRanges]:
    return {p: OffsetRanges.from_offsets(o for at, o in places if at == p) for p in {at for at, _ in places}}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(lake_uri=str(tmp_path / "lake"))


def bronze_only(settings: Settings, seed: int = 0, days: int = 2) -> AuditLake:
    made = AuditLake(settings, seed)
    for day in (FIRST_DAY + timedelta(days=number) for number in range(days)):
        made.history(day, 25)
        made.write_bronze(day, [*made.records[day], *made.copies[day]])
    return made


def look(made: AuditLake, log: Log) -> StageResult:
    return kafka_to_bronze.compare(made.lake, made.domain, log)


@pytest.mark.parametrize("seed", range(20))
def test_a_random_clean_history_raises_no_alarm(settings, seed):
    made = bronze_only(settings, seed)
    log, copies = Log(made), sum(len(some) for some in made.copies.values())
    unread = made.history(FIRST_DAY, 2, first_id=900)
    result = look(made, log)
    assert result.ok, result.problems
    late = {(record.partition, record.offset) for record in unread}
    waiting = sum(made.ends.values()) - sum(log.commits.values())
    assert result.explained[Reason.NOT_READ_YET] == waiting >= len(late)
    assert result.explained[Reason.DEAD_LETTER] == len(log.dead)
    assert result.explained[Reason.DELIVERED_AGAIN] == copies


def test_the_rows_of_a_date_whose_compaction_note_cannot_be_read_are_there_and_count_once(settings):
    made = bronze_only(settings)
    names = [file.name for file in made.lake.list_date(made.domain, FIRST_DAY)]
    for name in names:  # new files with the rows of old ones, of which some copies are in two
        new = Path(made.lake.path(name.replace("part-", "compacted-")))
        new.write_bytes(Path(made.lake.path(name)).read_bytes())
    Path(made.lake.path(names[0])).with_name(made.lake.compaction_note).write_text("{}")
    result = look(made, Log(made))
    [problem] = result.problems
    assert (problem.kind, problem.day) == (Kind.UNREADABLE_NOTE, FIRST_DAY)
    assert made.lake.compaction_note in problem.detail and "remove it" in problem.next_step
    assert all(equation.adds_up for equation in result.equations)
    later = FIRST_DAY + timedelta(days=1)
    places = {(record.partition, record.offset) for record in made.records[FIRST_DAY]}
    assert result.equations[1].count == len(places) + len(made.records[later]) + len(made.copies[later])
    assert result.explained[Reason.DELIVERED_AGAIN] == len(made.copies[later])


def test_a_letter_that_was_never_sent_is_lost(settings):
    made = bronze_only(settings)
    log = Log(made)
    place = sorted(log.dead)[0]
    log.dead.remove(place)
    log.records.add(place)
    [problem] = look(made, log).problems
    assert (problem.stage, problem.kind.value, problem.count) == (Stage.BRONZE, "lost", 1)
    assert problem.where == f"raw-orders:{place[0]}:{place[1]}"
    assert f"--topic raw-orders --partition {place[0]} --to-offset {place[1]}" in problem.next_step


def test_what_the_sink_stores_and_commits_during_a_look_is_no_loss(settings):
    made = bronze_only(settings)
    log = Log(made)

    def meanwhile() -> None:
        made.write_bronze(FIRST_DAY, made.history(FIRST_DAY, 2, first_id=900))
        made.skipped.clear()
        log.commits = made.ends

    log.on_committed = meanwhile
    assert look(made, log).problems == ()


def test_a_recreated_topic_explains_offsets_beyond_its_end(settings):
    made = bronze_only(settings)
    log = Log(made)
    made._offsets[0] -= 5
    log.commits = made.ends
    kinds = [problem.kind.value for problem in look(made, log).problems]
    assert kinds == ["phantom"]
    state = CoverageState(topics={"raw-orders": TopicCoverage(topic_id="another")})
    for _ in range(2):
        save(made.lake, state)
        result = look(made, log)
        assert result.ok
        assert result.explained[Reason.TOPIC_RECREATED] > 0
        # Also when the next comparison of offsets has met the new topic, a minute later.
        state.follow({"raw-orders": log.topic("raw-orders")}, ["raw-orders"])
        assert state.topics["raw-orders"].topic_id != "another"


def test_offsets_below_what_kafka_keeps_are_unverifiable_unless_they_were_accounted_for_before(settings):
    made = bronze_only(settings)
    log = Log(made)
    log.dead = set()
    partition, offset = next(place for place in sorted(made.skipped) if 0 < place[1] < made.ends[place[0]] - 1)
    log.low = dict(made.ends)
    result = look(made, log)
    assert {problem.kind.value for problem in result.problems} == {"expired_unverifiable"}
    assert offset in result.problems[0].offsets[partition]
    accounted = {p: PartitionCoverage(start=0, accounted=OffsetRanges.of((0, end))) for p, end in made.ends.items()}
    save(made.lake, CoverageState(topics={"raw-orders": TopicCoverage(topic_id="one", partitions=accounted)}))
    assert look(made, log).ok


SECOND_DAY = FIRST_DAY + timedelta(days=1)


def of_dates(made: AuditLake, log: Log, monkeypatch: pytest.MonkeyPatch, first: date, last: date) -> AuditReport:
    monkeypatch.setattr(run, "AuditLog", lambda _: log)
    dates = DateRange(first, last)
    return audit(made.settings, made.catalog, made.lake, domains=["orders"], dates=dates, stages={Stage.BRONZE})


def files_of(made: AuditLake, day: date) -> list[Path]:
    return [Path(made.lake.path(file.name)) for file in made.lake.list_date(made.domain, day)]


def test_the_audit_of_a_date_opens_no_file_of_another_and_says_what_it_leaves_open(settings, monkeypatch):
    made = bronze_only(settings, days=3)
    opened: list[str] = []
    open_file = parquet_files.opened
    monkeypatch.setattr(file_offsets, "opened", lambda lake, name: opened.append(name) or open_file(lake, name))
    report = of_dates(made, Log(made), monkeypatch, SECOND_DAY, SECOND_DAY)
    assert sorted(opened) == [file.name for file in made.lake.list_date(made.domain, SECOND_DAY)]
    rows, copies = len(made.records[SECOND_DAY]), len(made.copies[SECOND_DAY])
    [result] = report.results
    assert result.day == SECOND_DAY and report.exit_code == 0
    assert str(result.equations[0]) == (
        f"bronze rows {rows + copies:,} = offsets in kafka {rows}" + (f" + delivered_again {copies}" if copies else "")
    )
    # What it has not looked for is said wherever the answer is read: a file that is gone is seen by all files alone.
    log, file = Log(made), files_of(made, SECOND_DAY)[0]
    log.records = {(row["_partition"], row["_offset"]) for row in pq.read_table(file).to_pylist()}
    file.unlink()
    report = of_dates(made, log, monkeypatch, SECOND_DAY, SECOND_DAY)
    assert report.exit_code == 0 and "without missing offsets (an audit without dates" in report.scope
    document = report.to_json()
    assert {"missing offsets" in each["not_compared"] for each in (*document["summary"], *document["results"])} == {
        True
    }
    whole = look(made, log)
    assert (whole.not_compared, [problem.kind for problem in whole.problems]) == ("", [Kind.LOST])


def test_a_file_or_row_that_is_wrong_is_named_with_its_date(settings, monkeypatch):
    made = bronze_only(settings, days=3)
    log = Log(made)
    made._offsets[0] -= 5
    files_of(made, SECOND_DAY)[1].write_bytes(b"PAR1 nonsense")
    report = of_dates(made, log, monkeypatch, FIRST_DAY, SECOND_DAY)
    assert [(problem.day, problem.kind) for problem in report.problems] == [(SECOND_DAY, Kind.UNREADABLE_FILE)]
    report = of_dates(made, log, monkeypatch, SECOND_DAY, FIRST_DAY + timedelta(days=2))
    assert (FIRST_DAY + timedelta(days=2), Kind.PHANTOM) in [(each.day, each.kind) for each in report.problems]
    assert report.exit_code == 1


def test_a_gap_that_the_sensor_knows_is_lost_for_an_audit_of_any_date(settings, monkeypatch):
    made = bronze_only(settings)
    gap = Gap("orders", "raw-orders", 1, 3, 9, datetime(2026, 11, 22, tzinfo=UTC), True)
    partition = PartitionCoverage(start=0, accounted=OffsetRanges.of((0, 4)), gaps=[gap])
    state = CoverageState(topics={"raw-orders": TopicCoverage(topic_id="one", partitions={1: partition})})
    save(made.lake, state)
    report = of_dates(made, Log(made), monkeypatch, FIRST_DAY, FIRST_DAY)
    [problem] = report.problems
    assert (problem.kind, problem.day, problem.where) == (Kind.LOST, None, "raw-orders:1:5-9")
    assert "--partition 1 --to-offset 5" in problem.next_step and report.exit_code == 1
    state.topics["raw-orders"].topic_id = "of the topic before"
    save(made.lake, state)
    assert of_dates(made, Log(made), monkeypatch, FIRST_DAY, FIRST_DAY).problems == ()


def test_a_date_without_a_file_is_not_green(settings, monkeypatch):
    made = bronze_only(settings)
    made.done(SECOND_DAY, [])
    for file in files_of(made, SECOND_DAY):
        file.unlink()
    report = of_dates(made, Log(made), monkeypatch, FIRST_DAY, SECOND_DAY)
    assert report.exit_code == 2
    [result] = report.not_checked
    assert result.day == SECOND_DAY and "has no file, and another layer knows the date" in result.not_checked


def test_a_date_of_which_a_file_went_meanwhile_is_read_again(settings, monkeypatch):
    made = bronze_only(settings)
    list_date, listings = Lake.list_date, []

    def compacted(lake, domain, day):
        listed = list_date(lake, domain, day)
        listings.append(day)
        if len(listings) == 1:
            file = Path(lake.path(listed[0].name))
            file.rename(file.with_name(file.name.replace("part-", "part-0")))
        return listed

    expected = of_dates(made, Log(made), monkeypatch, FIRST_DAY, FIRST_DAY)
    monkeypatch.setattr(Lake, "list_date", compacted)
    report = of_dates(made, Log(made), monkeypatch, FIRST_DAY, FIRST_DAY)
    assert report.results[0].equations == expected.results[0].equations
    assert len(listings) == 4
