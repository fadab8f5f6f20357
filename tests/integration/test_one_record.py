"""One record through every stage: Kafka, the sink, Bronze, Silver, Gold and the warehouse, on Sail.

It is the quickest answer to whether the stages still fit together; what each of them does with more than a good
record is tested where that stage is.
"""

from __future__ import annotations

import json

import pytest

from platform_assets.resources.warehouse import Warehouse
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from tests.rigs.pipeline_rig import PipelineRig
from tests.rigs.sink.rig import SinkRig


@pytest.mark.fast
def test_one_record_goes_from_kafka_to_the_warehouse(sink_rig: SinkRig, sink_pipeline_rig: PipelineRig) -> None:
    rig = sink_pipeline_rig
    record = json.loads(sink_rig.event(1)) | {"city": "Graz"}

    producer = sink_rig.producer()
    producer.produce(sink_rig.topic, json.dumps(record).encode(), "1")
    assert producer.flush(30) == 0
    sink_rig.run("--until-caught-up")
    assert [(row["event_id"], row["_offset"]) for row in sink_rig.rows()] == [("1", 0)]

    [request] = rig.sensor_tick().run_requests
    job = rig.defs.resolve_job_def("data_pipeline_events")
    assert job.execute_in_process(partition_key=request.partition_key, tags=request.tags, instance=rig.instance).success
    assert request.partition_key == record["event_timestamp"][:10]
    [partition] = rig.partitions.rows("events")
    assert (partition.status, partition.record_count, partition.silver_records) == (State.DONE, 1, 1)
    assert [row["event_id"] for row in rig.lake.delta("silver/events").to_pyarrow_table().to_pylist()] == ["1"]
    [gold] = rig.lake.delta("gold/events").to_pyarrow_table().to_pylist()
    assert (gold["city"], gold["device_type"], gold["events"]) == ("Graz", "ios", 1)
    with Warehouse().connect("test") as connection:
        sql = f"SELECT CITY, DEVICE_TYPE, EVENTS, USERS FROM {settings().snowflake_database}.EVENTS.EVENTS"
        assert connection.cursor().execute(sql).fetchall() == [("Graz", "ios", 1, 1)]
