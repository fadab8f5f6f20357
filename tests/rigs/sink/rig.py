"""A topic of its own for each test, on a real broker, and sinks as child processes that write to one lake."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow.parquet as pq
import yaml
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY
from platform_kafka.provision import ensure_topics
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.topics import PROCESSED_EVENTS, SINK_GROUP, kafka_client_config, topic_specs
from tests.rigs.kafka.topic_content import read_topic
from tests.rigs.logged_process import LoggedProcess
from tests.rigs.settings_of import settings_of

PARTITIONS = 3


def endpoint(process: LoggedProcess) -> str:
    """Return the URL of a sink that was started with `METRICS_PORT=0`; its log says it."""
    found = re.search(r"probe_server_listens url=(\S+)", process.log.read_text())
    assert found is not None
    return found[1]


def metric(process: LoggedProcess, name: str) -> float:
    """Return the sum of a metric of such a sink."""
    with urlopen(f"{endpoint(process)}/metrics", timeout=30) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines)


class SinkRig:
    """One events topic, its lake, and the sinks that a test starts.

    Args:
        kafka: The broker.
        folder: For logs, the catalog, and the lake unless `lake_env` says otherwise.
        lake_env: Variables of another lake.
        command: What Python runs as the sink.
    """

    def __init__(
        self,
        kafka: Kafka,
        folder: Path,
        lake_env: Mapping[str, str] | None = None,
        command: Sequence[str] = ("-m", "sink"),
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.command = command
        self.topic = f"raw-events-{uuid.uuid4().hex[:6]}"
        self.lake = folder / "lake"
        self.domains_file = folder / "domains.yaml"
        entry = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())["domains"]["events"]
        entry["topic"] |= {"name": self.topic, "partitions": PARTITIONS}
        self.domains_file.write_text(yaml.safe_dump({"domains": {"events": entry}}))
        self.env = {**kafka.env(), "DOMAINS_FILE": str(self.domains_file), "LAKE_URI": str(self.lake)}
        self.env |= lake_env or {}
        self.settings = settings_of(self.env)
        self.admin = AdminClient(kafka_client_config(self.settings, admin=True))
        self.processes: list[LoggedProcess] = []

    def create_topics(self) -> None:
        # A broker may not list yet what the controller has created a moment ago.
        ensure_topics(self.admin, topic_specs(load_catalog(self.domains_file)), 1)

    def recreate_topic(self, name: str) -> None:
        """Delete a topic and create it: the controller has deleted what the broker no longer lists."""
        for done in self.admin.delete_topics([name]).values():
            done.result()
        self.wait(lambda: name not in self.admin.list_topics(timeout=30).topics)
        self.create_topics()

    def event(self, number: int) -> bytes:
        moment = datetime.now(UTC) - timedelta(days=number % 5)
        return json.dumps(
            {
                "event_id": str(number),
                "event_type": "search",
                "event_timestamp": moment.isoformat(),
                "user_id": number,
                "session_id": "s",
                "device_type": "ios",
                "properties": {"n": number},
            }
        ).encode()

    def produce(self, count: int, first: int = 0) -> None:
        producer = self.producer()
        for number in range(first, first + count):
            producer.produce(self.topic, self.event(number), str(number))
            producer.poll(0)
        assert producer.flush(60) == 0

    def producer(self) -> Producer:
        # A batch that a new topic's leader refuses is sent again; an idempotent producer keeps the order meanwhile.
        return Producer(
            {**kafka_client_config(self.settings), **DELIVERY_CONFIG, "message.max.bytes": 4_000_000, "linger.ms": 20}
        )

    def start(self, *arguments: str, **env: object) -> LoggedProcess:
        whole = {**os.environ, **self.env, **{k: str(v) for k, v in env.items()}}
        log = self.folder / f"sink-{len(self.processes)}.log"
        process = LoggedProcess.begin([sys.executable, *self.command, *arguments], whole, log)
        self.processes.append(process)
        return process

    def run(self, *arguments: str, **env: object) -> str:
        """Run the sink to its end and return its log."""
        process = self.start(*arguments, **env)
        assert process.wait(90) == 0, process.log.read_text()
        return process.log.read_text()

    def close(self) -> None:
        """End what a test left running."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def stop(self, process: LoggedProcess) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.log.read_text()

    def wait(self, condition: Callable[[], object], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [p for p in self.processes if p.poll() not in (None, 0, -signal.SIGKILL)]
            assert not dead, dead[0].log.read_text()
            assert time.monotonic() < deadline, "\n".join(p.log.read_text() for p in self.processes)
            time.sleep(0.1)  # many of the questions cost Kafka a connection

    def files(self, lake: Path | None = None) -> list[Path]:
        return sorted((lake or self.lake).glob("bronze/events/*/part-*.parquet"))

    def rows(self, lake: Path | None = None) -> list[dict]:
        return [row for path in self.files(lake) for row in pq.ParquetFile(path).read().to_pylist()]

    def offsets(self, lake: Path | None = None) -> list[tuple[int, int]]:
        return sorted((row["_partition"], row["_offset"]) for row in self.rows(lake))

    def ends(self) -> dict[int, int]:
        consumer = Consumer({**kafka_client_config(self.settings), "group.id": "test"})
        try:
            return {
                p: consumer.get_watermark_offsets(TopicPartition(self.topic, p), timeout=30)[1]
                for p in range(PARTITIONS)
            }
        finally:
            consumer.close()

    def produced(self) -> set[tuple[int, int]]:
        return {(partition, offset) for partition, end in self.ends().items() for offset in range(end)}

    def committed(self) -> dict[int, int]:
        wanted = ConsumerGroupTopicPartitions(SINK_GROUP, [TopicPartition(self.topic, p) for p in range(PARTITIONS)])
        # Not the default of 60 s: a broker that was just killed does not answer, and its successor does.
        (done,) = self.admin.list_consumer_group_offsets([wanted], request_timeout=30).values()
        return {each.partition: each.offset for each in done.result().topic_partitions}

    def read(self, topic: str) -> list[Any]:
        """Every record that a topic holds now."""
        return read_topic(kafka_client_config(self.settings), topic)

    def ledger(self) -> list[dict]:
        return [r for m in self.read(PROCESSED_EVENTS) if (r := json.loads(m.value()))["topic"] == self.topic]
