"""One record through every stage: Kafka, the sink, Bronze, Silver, Gold and the warehouse, on Sail.

It is the quickest answer to whether the stages still fit together; what each of them does with more than a good
record is tested where that stage is.
"""

from __future__ import annotations

import json
import uuid

import dagster as dg
import pytest

from infra.embedded.services.spark_connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_assets.resources.warehouse import Warehouse
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from tests.rigs.pipeline_rig import PipelineRig
from tests.rigs.sink_rig import SinkRig


@pytest.mark.fast
def test_one_record_goes_from_kafka_to_the_warehouse(
    sink_rig: SinkRig, sail: SparkConnect, warehouse: WarehouseService, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        **sink_rig.env,
        **sail.env(),
        **warehouse.env(),
        "PARTITION_SETTLE_SECONDS": "0",
        "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    record = json.loads(sink_rig.event(1)) | {"city": "Graz"}

    sink_rig.create_topics()
    producer = sink_rig.producer()
    producer.produce(sink_rig.topic, json.dumps(record).encode(), "1")
    assert producer.flush(30) == 0
    sink_rig.run("--until-caught-up")
    assert [(row["event_id"], row["_offset"]) for row in sink_rig.rows()] == [("1", 0)]

    with dg.DagsterInstance.ephemeral() as instance:
        rig = PipelineRig(Lake(settings()), load_catalog(sink_rig.domains_file), instance)
        [request] = rig.sensor_tick().run_requests
        job = rig.defs.resolve_job_def("data_pipeline_events")
        assert job.execute_in_process(partition_key=request.partition_key, tags=request.tags, instance=instance).success
    assert request.partition_key == record["event_timestamp"][:10]
    [partition] = rig.partitions.rows("events")
    assert (partition.status, partition.record_count, partition.silver_records) == (State.DONE, 1, 1)
    assert [row["event_id"] for row in rig.lake.delta("silver/events").to_pyarrow_table().to_pylist()] == ["1"]
    [gold] = rig.lake.delta("gold/events").to_pyarrow_table().to_pylist()
    assert (gold["city"], gold["device_type"], gold["events"]) == ("Graz", "ios", 1)
    with Warehouse().connect("test") as connection:
        sql = f"SELECT CITY, DEVICE_TYPE, EVENTS, USERS FROM {settings().snowflake_database}.EVENTS.EVENTS"
        assert connection.cursor().execute(sql).fetchall() == [("Graz", "ios", 1, 1)]
    settings.cache_clear()
