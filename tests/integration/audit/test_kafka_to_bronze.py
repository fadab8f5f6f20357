"""Kafka → Bronze with the real sink and a real Kafka: what was planted is named by partition and offset."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from audit.report import Kind, Reason
from platform_core.settings import Settings
from platform_kafka.topics import PROCESSED_EVENTS, SINK_GROUP, kafka_client_config


def commit(sink_rig, offsets: dict[int, int]) -> None:
    wanted = [TopicPartition(sink_rig.topic, p, offset) for p, offset in offsets.items()]
    (done,) = sink_rig.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP, wanted)]).values()
    assert all(each.error is None for each in done.result().topic_partitions)


def rewrite(path, change) -> None:
    """Replace a file's rows and keep its footer, as a careless hand would."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def footer(path) -> dict[int, list[list[int]]]:
    [(_, partitions)] = json.loads(pq.read_metadata(path).metadata[b"pdp.offsets"]).items()
    return {int(partition): ranges for partition, ranges in partitions.items()}


def named(report) -> list[tuple[str, dict[int, list[list[int]]]]]:
    return [(p.kind.value, {n: r.to_json() for n, r in p.offsets.items()}) for p in report.problems]


def test_rows_letters_markers_and_unread_records_add_up(sink_rig, look):
    sink_rig.produce(10_000)
    producer = sink_rig.producer()
    for number in range(9):
        producer.produce(sink_rig.topic, b"{broken", str(number))
    producer.flush(30)
    transactions = Producer({**kafka_client_config(sink_rig.settings, admin=True), "transactional.id": sink_rig.topic})
    transactions.init_transactions(30)
    for number in range(2):
        transactions.begin_transaction()
        transactions.produce(sink_rig.topic, sink_rig.event(number), str(number), partition=0)
        transactions.flush(30)
        (transactions.abort_transaction if number else transactions.commit_transaction)(30)
    sink_rig.run("--until-caught-up")
    sink_rig.produce(7)
    report = look()
    assert report.problems == ()
    [result] = report.results
    assert str(result.equations[0]) == (
        "kafka offsets 10,020 = bronze 10,001 + dead_letter 9 + no_record 3 + not_read_yet 7"
    )
    assert str(result.equations[1]) == "bronze rows 10,001 = offsets in kafka 10,001"
    assert report.clean


def test_a_skipped_range_and_a_deleted_file_are_lost_and_a_copy_is_named(sink_rig, look):
    sink_rig.produce(300)
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=20)
    before = sink_rig.ends()
    sink_rig.produce(60, first=300)
    skipped = sink_rig.ends()
    commit(sink_rig, skipped)
    lost = {p: [[before[p], skipped[p] - 1]] for p in before if skipped[p] > before[p]}
    assert named(look()) == [("lost", lost)]

    commit(sink_rig, before)
    sink_rig.run("--until-caught-up")
    copied = sink_rig.files()[0]
    copy = copied.with_name("part-20261124T000000000000Z-00000000.parquet")
    copy.write_bytes(copied.read_bytes())
    report = look()
    assert named(report) == [("footer_differs", {})]
    assert copy.name in report.problems[0].where
    assert report.results[0].explained[Reason.DELIVERED_AGAIN] == pq.read_metadata(copied).num_rows
    copy.unlink()

    gone = sink_rig.files()[-1] if sink_rig.files()[-1] != copied else sink_rig.files()[-2]
    expected = footer(gone)
    gone.unlink()
    assert named(look()) == [("lost", expected)]


def test_a_silent_filter_is_found_although_the_footer_lies_and_an_invented_offset_is_a_phantom(sink_rig, look):
    sink_rig.produce(90)
    sink_rig.run("--until-caught-up")
    file = sink_rig.files()[0]
    row = pq.read_table(file).to_pylist()[0]
    rewrite(file, lambda table: table.slice(1))
    report = look()
    assert named(report) == [("lost", {row["_partition"]: [[row["_offset"]] * 2]}), ("footer_differs", {})]
    assert file.name in report.problems[1].where

    def invent(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table, pa.Table.from_pylist([{**row, "_offset": 5_000}, row], schema=table.schema)])

    rewrite(file, invent)
    found = named(look())
    assert ("phantom", {row["_partition"]: [[5_000, 5_000]]}) in found
    assert Kind.LOST.value not in dict(found)

    file.write_bytes(b"PAR1 nonsense")
    assert {kind for kind, _ in named(look())} == {"lost", "unreadable_file"}


def test_what_kafka_has_dropped_is_lost_when_the_ledger_knows_it_and_unverifiable_otherwise(sink_rig, look):
    sink_rig.produce(300)
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=20)
    # Not a file with the first offset that Bronze has of a partition: what was before it is not known to have been.
    file = next(path for path in sink_rig.files() if all(first > 0 for of in footer(path).values() for first, _ in of))
    expected = footer(file)
    file.unlink()
    ends = sink_rig.ends()
    for done in sink_rig.admin.delete_records(
        [TopicPartition(sink_rig.topic, p, end) for p, end in ends.items()]
    ).values():
        done.result()
    sink_rig.produce(30)
    sink_rig.run("--until-caught-up")
    assert named(look()) == [("lost", expected)]

    sink_rig.admin.delete_records(
        [
            TopicPartition(PROCESSED_EVENTS, p, -1)
            for p in sink_rig.admin.list_topics(timeout=30).topics[PROCESSED_EVENTS].partitions
        ]
    )
    sink_rig.wait(lambda: not sink_rig.ledger())
    assert named(look()) == [("expired_unverifiable", expected)]


def test_without_kafka_the_stage_is_not_checked(sink_rig, look):
    sink_rig.settings = Settings(**{**sink_rig.settings.model_dump(), "kafka_bootstrap_servers": "127.0.0.1:1"})
    report = look()
    assert (report.clean, report.exit_code, report.problems) == (False, 2, ())
    assert "127.0.0.1:1" in report.not_checked[0].not_checked
