"""Kafka → Bronze with Kafka's answers made up: clean histories raise no alarm, a planted loss is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from audit.kafka_log import AuditLog, KafkaTopic
from audit.offset_coverage.state import CoverageState, PartitionCoverage, TopicCoverage, save
from audit.report import Reason, Stage, StageResult
from audit.stages import kafka_to_bronze
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
