"""What every fault is tried on: a stream of acknowledged records, real sinks, and the audit that ends it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from audit.report import Stage
from audit.run import audit
from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_kafka.topics import kafka_client_config
from tests.rigs.sink.rig import PARTITIONS, SinkRig

OPTIONS = {"SINK_FLUSH_BUFFER_SIZE": 40, "SINK_FLUSH_INTERVAL_SECONDS": 0.5}


DAYS = (0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 2, 0, 0, 3, 0, 0, 0, 4)
SINK_PROCESS = str(Path(__file__).with_name("sink_process.py"))


Answer = TypeVar("Answer")


def patient(ask: Callable[[], Answer]) -> Answer:
    """Ask Kafka again for a minute: a broker that has just come back leaves some requests unanswered."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class FaultRig(SinkRig):
    """A fault_rig whose lake may be a bucket, and whose load never stops by itself.

    Args:
        kafka: The broker.
        folder: For logs, the catalog, and the lake unless `lake_env` says otherwise.
        lake_env: Variables of another lake.
        seed: Decides when and how often the faults come.
        mutant: A way to break the sink, see `sink_process`.
    """

    def __init__(
        self, kafka: Kafka, folder: Path, *, lake_env: Mapping[str, str] | None = None, seed: int, mutant: str = ""
    ) -> None:
        super().__init__(kafka, folder, lake_env, (SINK_PROCESS, mutant))
        self.seed = seed
        self.create_topics()

    def event(self, number: int) -> bytes:
        """Most events are of today, few of each day before: those hold the commits of the others back."""
        return super().event(5 * number + DAYS[number % len(DAYS)])

    @contextmanager
    def load(self, per_second: int = 400) -> Iterator[Counter[int]]:
        """Produce until the block ends; yields the acknowledged records by partition."""
        acknowledged: Counter[int] = Counter()
        stop = threading.Event()
        draw = random.Random(self.seed)

        def report(error, message) -> None:
            if error is None:
                acknowledged[message.partition()] += 1

        def run() -> None:
            producer, number = self.producer(), 0
            while not stop.is_set():
                for _ in range(per_second // 20):
                    producer.produce(
                        self.topic,
                        self.event(number),
                        str(number),
                        partition=draw.randrange(PARTITIONS),
                        on_delivery=report,
                    )
                    number += 1
                producer.poll(0)
                time.sleep(0.05)
            assert producer.flush(60) == 0

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield acknowledged
        finally:
            stop.set()
            thread.join()

    def committed(self) -> dict[int, int]:
        ask = super().committed

        def anew() -> dict[int, int]:
            self.admin = AdminClient(kafka_client_config(self.settings, admin=True))
            return ask()

        try:
            return ask()
        except KafkaException:
            return patient(anew)

    def ends(self) -> dict[int, int]:
        return patient(super().ends)

    @property
    def the_lake(self) -> Lake:
        return Lake(self.settings)

    def stored(self) -> Counter[tuple[int, int]]:
        """How often each (partition, offset) is in Bronze."""
        lake, found = self.the_lake, Counter()
        domain = load_catalog(self.domains_file)["events"]
        for files in lake.list_bronze(domain).values():
            for file in files:
                table = pq.read_table(
                    lake.path(file.name),
                    columns=["_partition", "_offset"],
                    filesystem=lake.filesystem,
                    partitioning=None,
                )
                found.update(zip(table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True))
        return found

    def _dead_letter_origins(self) -> set[tuple[int, int]]:
        headers = [dict(message.headers() or ()) for message in self.read(f"dlq-{self.topic}")]
        return {(int(each["dlq.partition"]), int(each["dlq.offset"])) for each in headers}

    def drain(self) -> None:
        """Let a healthy sink finish what is left; the group's dead members are waited for."""
        process = self.start("--until-caught-up", **OPTIONS)
        assert process.wait(90) == 0, process.log.read_text()

    def assert_clean(self, acknowledged: Counter[int], *, exactly_once: bool = True, refused: int = 0) -> None:
        """Every acknowledged record is in Bronze, the audit agrees, and no good record is a dead letter.

        Args:
            acknowledged: The good records.
            exactly_once: Whether a record may not be stored twice.
            refused: How many others were produced, which must be dead letters.
        """
        stored, letters = self.stored(), self._dead_letter_origins()
        in_kafka = self.produced()
        assert sum(acknowledged.values()) <= len(in_kafka) and in_kafka, "the load was acknowledged and vanished"
        produced = in_kafka - letters
        assert not produced - stored.keys(), f"lost: {sorted(produced - stored.keys())[:10]}"
        assert not stored.keys() - produced, f"from nowhere: {sorted(stored.keys() - produced)[:10]}"
        twice = {where: count for where, count in stored.items() if count > 1}
        assert not exactly_once or not twice, f"{len(twice)} records were written twice: {sorted(twice)[:10]}"
        assert len(letters) <= refused, "a fault sent good records to the dead letters"
        assert len(letters) >= refused, f"{refused - len(letters)} refused records are no dead letters"
        report = audit(self.settings, load_catalog(self.domains_file), self.the_lake, stages={Stage.BRONZE})
        assert report.clean, report.problems
