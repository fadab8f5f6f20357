"""The comparison of offsets, with the real sink, a real Kafka and planted losses."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from audit.kafka_log import AuditLog
from audit.offset_coverage.coverage import Coverage
from pdp.actions.group_offsets import move, plan
from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import PROCESSED_EVENTS, SINK_GROUP, kafka_client_config


@pytest.fixture
def look(sink_rig):
    """Look twice without a grace period: what the first look saw is verified by then at the latest."""

    def look() -> tuple[set[tuple[int, int, int, bool]], int]:
        catalog = load_catalog(sink_rig.domains_file)
        kafka = AuditLog(sink_rig.settings)
        watch = Coverage(sink_rig.settings, Lake(sink_rig.settings), catalog, grace=timedelta(0), kafka=kafka)
        assert watch.update().complete
        report = watch.update()
        kafka.close()
        assert report.complete
        found = report.domains["events"]
        gaps = {(gap.partition, gap.first, gap.last, gap.still_in_kafka) for gap in found.gaps}
        return gaps, found.accounted

    sink_rig.create_topics()
    return look


@pytest.fixture
def rewind(sink_rig):
    """The command that the alert names, without its terminal."""

    def rewind(partition: int, offset: int) -> None:
        with OperatorKafka(sink_rig.settings) as kafka:
            move(kafka, plan(kafka, [(sink_rig.topic, partition)], offset))

    return rewind


def commit(sink_rig, offsets: dict[int, int]) -> None:
    wanted = [TopicPartition(sink_rig.topic, p, offset) for p, offset in offsets.items()]
    (done,) = sink_rig.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP, wanted)]).values()
    for each in done.result().topic_partitions:
        assert each.error is None


def test_what_the_sink_wrote_and_refused_is_covered_without_a_gap(sink_rig, look):
    sink_rig.produce(3_000)
    producer = sink_rig.producer()
    for number in range(9):
        producer.produce(sink_rig.topic, b"{broken", str(number))
    producer.flush(30)
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=100)
    assert look() == (set(), 3_009)
    ranges = [pairs for record in sink_rig.ledger() for pairs in record["offsets"].values()]
    assert sum(last - first + 1 for pairs in ranges for first, last in pairs) == 3_000
    assert any(len(pairs) > 1 for pairs in ranges), "five dates share each partition"
    state = sink_rig.lake / "pipeline-metadata" / "offset_coverage.json"
    assert state.stat().st_size < 2_000


def test_a_commit_past_unread_records_is_a_gap_until_a_rewind_brings_them(sink_rig, look, rewind):
    sink_rig.produce(300)
    sink_rig.run("--until-caught-up")
    before = sink_rig.ends()
    assert look()[0] == set()
    sink_rig.produce(60, first=300)
    skipped = sink_rig.ends()
    commit(sink_rig, skipped)
    sink_rig.produce(60, first=360)
    sink_rig.run("--until-caught-up")
    lost = {p: (before[p], skipped[p] - 1) for p in before if skipped[p] > before[p]}
    assert look()[0] == {(p, first, last, True) for p, (first, last) in lost.items()}

    # Retention drops one partition's records, the command that the alert names brings the others back.
    partition = min(lost)
    sink_rig.admin.delete_records([TopicPartition(sink_rig.topic, partition, lost[partition][1] + 1)])[
        TopicPartition(sink_rig.topic, partition)
    ].result()
    gaps = look()[0]
    assert gaps == {(p, first, last, p != partition) for p, (first, last) in lost.items()}
    with pytest.raises(PermanentError, match="retention has dropped"):
        rewind(partition, lost[partition][0])
    for p, first, last, still_in_kafka in gaps:
        if still_in_kafka:
            rewind(p, first)
            with pytest.raises(PermanentError, match="would never be read"):
                rewind(p, last)
    sink_rig.run("--until-caught-up")
    assert look()[0] == {(partition, *lost[partition], False)}


def test_a_running_sink_is_not_rewound(sink_rig, look, rewind):
    sink_rig.produce(30)
    process = sink_rig.start(SINK_FLUSH_INTERVAL_SECONDS=0.5)
    sink_rig.wait(lambda: sink_rig.committed() == sink_rig.ends())
    partition = max(sink_rig.ends(), key=lambda p: sink_rig.ends()[p])
    committed = sink_rig.committed()
    with pytest.raises(PermanentError, match="1 running member"):
        rewind(partition, 0)
    assert sink_rig.committed() == committed
    sink_rig.stop(process)


def test_a_lost_ledger_record_is_no_gap_and_a_lost_file_is_one(sink_rig, look):
    sink_rig.produce(200)
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=10)
    # A crash between commit and delivery loses the record; here the whole ledger is cut off before the first look.
    kafka = AuditLog(sink_rig.settings)
    ends = kafka.topics([PROCESSED_EVENTS])[PROCESSED_EVENTS].bounds
    kafka.close()
    cut = [TopicPartition(PROCESSED_EVENTS, p, high) for p, (_, high) in ends.items()]
    for done in sink_rig.admin.delete_records(cut).values():
        done.result()
    assert not sink_rig.ledger()
    lost = sink_rig.files()[0]
    assert look()[0] == set()

    # The same again, and the file is gone too.
    (sink_rig.lake / "pipeline-metadata" / "offset_coverage.json").unlink()
    footer = json.loads(pq.read_metadata(lost).metadata[b"pdp.offsets"])
    lost.unlink()
    gaps, accounted = look()
    assert gaps == {(int(p), first, last, True) for p, pairs in footer[sink_rig.topic].items() for first, last in pairs}
    assert accounted == 190


def test_transaction_markers_and_aborted_records_are_no_gap(sink_rig, look):
    producer = Producer({**kafka_client_config(sink_rig.settings, admin=True), "transactional.id": sink_rig.topic})
    producer.init_transactions(30)
    for number in range(6):
        producer.begin_transaction()
        for each in range(5):
            producer.produce(sink_rig.topic, sink_rig.event(10 * number + each), str(each), partition=0)
        producer.flush(30)
        (producer.abort_transaction if number == 2 else producer.commit_transaction)(30)
    sink_rig.run("--until-caught-up")
    assert sink_rig.committed()[0] == 36
    assert len(sink_rig.offsets()) == 25
    assert look() == (set(), 36)


def test_a_topic_recreated_is_told_by_its_id_also_when_it_is_longer(sink_rig, look, caplog):
    sink_rig.produce(30)
    sink_rig.run("--until-caught-up")
    assert look() == (set(), 30)
    sink_rig.recreate_topic(sink_rig.topic)
    sink_rig.produce(90)
    sink_rig.run("--until-caught-up")
    gaps, accounted = look()
    assert (gaps, accounted) == (set(), 90)
    assert "topic_recreated" in caplog.text


def test_without_kafka_the_comparison_says_so_within_seconds(sink_rig, look):
    sink_rig.produce(30)
    sink_rig.run("--until-caught-up")
    look()
    sink_rig.settings = sink_rig.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    started = time.monotonic()
    watch = Coverage(sink_rig.settings, Lake(sink_rig.settings), load_catalog(sink_rig.domains_file))
    report = watch.update()
    assert (report.complete, report.domains["events"].accounted) == (False, 30)
    assert time.monotonic() - started < 60  # the client's own patience is minutes
