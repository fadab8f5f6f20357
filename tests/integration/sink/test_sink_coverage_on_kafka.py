"""The watch over offsets, with the real sink, a real Kafka and planted losses."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_core.topics import PROCESSED_EVENTS, SINK_GROUP, kafka_client_config
from sink.coverage import Coverage
from sink.coverage_kafka import ConfluentLog
from sink.group_offsets import Target, move, plan
from sink.operator_kafka import OperatorKafka


@pytest.fixture
def look(bench):
    """Look twice without a grace period: what the first look saw is verified by then at the latest."""

    def look() -> tuple[set[tuple[int, int, int, bool]], int, int]:
        catalog = load_catalog(bench.domains_file)
        kafka = ConfluentLog(bench.settings)
        watch = Coverage(bench.settings, Lake(bench.settings), catalog, grace=timedelta(0), kafka=kafka)
        assert watch.update().complete
        report = watch.update()
        kafka.close()
        assert report.complete
        found = report.domains["events"]
        gaps = {(gap.partition, gap.first, gap.last, gap.still_in_kafka) for gap in found.gaps}
        return gaps, found.settled, found.duplicates

    bench.create_topics()
    return look


@pytest.fixture
def rewind(bench):
    """The command that the alert names, without its terminal."""

    def rewind(partition: int, offset: int) -> None:
        with OperatorKafka(bench.settings) as kafka:
            move(kafka, plan(kafka, [(bench.topic, partition)], Target(offset=offset)))

    return rewind


def commit(bench, offsets: dict[int, int]) -> None:
    wanted = [TopicPartition(bench.topic, p, offset) for p, offset in offsets.items()]
    (done,) = bench.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP, wanted)]).values()
    for each in done.result().topic_partitions:
        assert each.error is None


def test_what_the_sink_wrote_and_refused_is_covered_without_a_gap(bench, look):
    bench.produce(3_000)
    producer = bench.producer()
    for number in range(9):
        producer.produce(bench.topic, b"{broken", str(number))
    producer.flush(30)
    bench.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=100)
    assert look() == (set(), 3_009, 0)
    ranges = [pairs for record in bench.ledger() for pairs in record["offsets"].values()]
    assert sum(last - first + 1 for pairs in ranges for first, last in pairs) == 3_000
    assert any(len(pairs) > 1 for pairs in ranges), "five dates share each partition"
    state = bench.lake / "pipeline-metadata" / "offset_coverage.json"
    assert state.stat().st_size < 2_000


def test_a_commit_past_unread_records_is_a_gap_until_a_rewind_brings_them(bench, look, rewind):
    bench.produce(300)
    bench.run("--until-caught-up")
    before = bench.ends()
    assert look()[0] == set()
    bench.produce(60, first=300)
    skipped = bench.ends()
    commit(bench, skipped)
    bench.produce(60, first=360)
    bench.run("--until-caught-up")
    lost = {p: (before[p], skipped[p] - 1) for p in before if skipped[p] > before[p]}
    assert look()[0] == {(p, first, last, True) for p, (first, last) in lost.items()}

    # Retention drops one partition's records, the command that the alert names brings the others back.
    partition = min(lost)
    bench.admin.delete_records([TopicPartition(bench.topic, partition, lost[partition][1] + 1)])[
        TopicPartition(bench.topic, partition)
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
    bench.run("--until-caught-up")
    gaps, _, duplicates = look()
    assert gaps == {(partition, *lost[partition], False)}
    assert duplicates > 0, "what came after the gap was read twice"


def test_a_running_sink_is_not_rewound(bench, look, rewind):
    bench.produce(30)
    process = bench.start(SINK_FLUSH_INTERVAL_SECONDS=0.5)
    bench.wait(lambda: bench.committed() == bench.ends())
    partition = max(bench.ends(), key=lambda p: bench.ends()[p])
    committed = bench.committed()
    with pytest.raises(PermanentError, match="running members"):
        rewind(partition, 0)
    assert bench.committed() == committed
    bench.stop(process)


def test_a_lost_ledger_record_is_no_gap_and_a_lost_file_is_one(bench, look):
    bench.produce(200)
    bench.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=10)
    # A crash between commit and delivery loses the record; here the whole ledger is cut off before the first look.
    kafka = ConfluentLog(bench.settings)
    ends = kafka.topics([PROCESSED_EVENTS])[PROCESSED_EVENTS].bounds
    kafka.close()
    cut = [TopicPartition(PROCESSED_EVENTS, p, high) for p, (_, high) in ends.items()]
    for done in bench.admin.delete_records(cut).values():
        done.result()
    assert not bench.ledger()
    lost = bench.files()[0]
    assert look()[0] == set()

    # The same again, and the file is gone too.
    (bench.lake / "pipeline-metadata" / "offset_coverage.json").unlink()
    footer = json.loads(pq.read_metadata(lost).metadata[b"pdp.offsets"])
    lost.unlink()
    gaps, settled, _ = look()
    assert gaps == {(int(p), first, last, True) for p, pairs in footer[bench.topic].items() for first, last in pairs}
    assert settled == 190


def test_transaction_markers_and_aborted_records_are_no_gap(bench, look):
    producer = Producer({**kafka_client_config(bench.settings, admin=True), "transactional.id": bench.topic})
    producer.init_transactions(30)
    for number in range(6):
        producer.begin_transaction()
        for each in range(5):
            producer.produce(bench.topic, bench.event(10 * number + each), str(each), partition=0)
        producer.flush(30)
        (producer.abort_transaction if number == 2 else producer.commit_transaction)(30)
    bench.run("--until-caught-up")
    assert bench.committed()[0] == 36
    assert len(bench.offsets()) == 25
    assert look() == (set(), 36, 0)


def test_a_topic_made_anew_is_told_by_its_id_also_when_it_is_longer(bench, look, caplog):
    bench.produce(30)
    bench.run("--until-caught-up")
    assert look() == (set(), 30, 0)
    for done in bench.admin.delete_topics([bench.topic]).values():
        done.result()
    bench.wait(lambda: bench.topic not in bench.admin.list_topics(timeout=10).topics)
    time.sleep(1)
    bench.create_topics()
    bench.produce(90)
    bench.run("--until-caught-up")
    gaps, settled, _ = look()
    assert (gaps, settled) == (set(), 90)
    assert "topic_made_anew" in caplog.text


def test_without_kafka_the_watch_says_so_within_seconds(bench, look):
    bench.produce(30)
    bench.run("--until-caught-up")
    look()
    bench.settings = bench.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    started = time.monotonic()
    watch = Coverage(bench.settings, Lake(bench.settings), load_catalog(bench.domains_file))
    report = watch.update()
    assert (report.complete, report.domains["events"].settled) == (False, 30)
    assert time.monotonic() - started < 10
