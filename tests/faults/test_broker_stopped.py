"""kill -9 of each Kafka node under load: producing goes on, and nothing that was acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import load_catalog
from platform_kafka.provision import ensure_topics
from platform_kafka.topics import topic_specs
from tests.rigs.faults.acknowledged import AcknowledgedLoad, Acknowledgement, broken_promises
from tests.rigs.faults.kafka_cluster import BROKERS, CONTROLLER_ONLY, REPLICAS, KafkaCluster, wait
from tests.rigs.sink.rig import PARTITIONS, SinkRig

GAP_LIMIT_SECONDS = 60.0
RECORDS_PER_SECOND = 500


@pytest.fixture
def cluster(toolchain: Toolchain, tmp_path: Path) -> Iterator[KafkaCluster]:
    with KafkaCluster(tmp_path / "kafka", toolchain) as running:
        yield running


@pytest.fixture
def fault_rig(cluster: KafkaCluster, tmp_path: Path) -> Iterator[SinkRig]:
    fault_rig = SinkRig(cluster, tmp_path / "fault_rig")  # type: ignore[arg-type]
    ensure_topics(fault_rig.admin, topic_specs(load_catalog(fault_rig.domains_file)), REPLICAS)
    yield fault_rig
    fault_rig.close()


def test_any_node_may_die_under_load(
    cluster: KafkaCluster, fault_rig: SinkRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = fault_rig.start(SINK_FLUSH_BUFFER_SIZE=200, SINK_FLUSH_INTERVAL_SECONDS=1)
    with AcknowledgedLoad(
        fault_rig.settings, fault_rig.topic, fault_rig.event, RECORDS_PER_SECOND, monkeypatch
    ) as load:
        fault_rig.wait(fault_rig.files)
        # The quorum's leader changes only when it dies, so one of the three kills meets it.
        for victim in (*BROKERS, CONTROLLER_ONLY):
            # Until the node that died before has caught up, the other one has the only copy.
            cluster.wait_in_sync()
            role = "leader" if victim == cluster.active_controller() else "member"
            sent, killed_at = load.sent, time.monotonic()
            cluster.stop(victim)
            wait(lambda sent=sent: load.resumed_after(sent, PARTITIONS), GAP_LIMIT_SECONDS)
            wait(lambda: cluster.active_controller() is not None, GAP_LIMIT_SECONDS)
            gap = load.longest_gap(killed_at)
            print(f"node {victim} killed, {role} of the quorum: a partition acknowledged nothing for {gap:.1f} s")
            if victim in BROKERS:
                cluster.start(victim)
    print(f"{len(load.acknowledged)} records acknowledged, longest gap {load.longest_gap():.1f} s")
    assert load.longest_gap() < GAP_LIMIT_SECONDS
    ends = fault_rig.ends()
    assert sum(ends.values()) == len(load.acknowledged) == load.sent, "Kafka holds a record twice"
    fault_rig.wait(lambda: fault_rig.committed() == ends)
    fault_rig.stop(sink)
    rows = fault_rig.rows()
    assert broken_promises(load.acknowledged, rows) == []
    assert len(broken_promises(load.acknowledged, rows[1:])) == 1, "a lost record must be noticed"


ACKNOWLEDGED = [
    Acknowledgement(number=0, partition=0, offset=0, at=0.0),
    Acknowledgement(number=1, partition=1, offset=0, at=0.0),
    Acknowledgement(number=2, partition=1, offset=None, at=0.0),
]
ROWS = [
    {"event_id": "0", "_partition": 0, "_offset": 0},
    {"event_id": "1", "_partition": 1, "_offset": 0},
    {"event_id": "2", "_partition": 1, "_offset": 1},
]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (ROWS, []),
        (ROWS[1:], [f"{ACKNOWLEDGED[0]} is at []"]),
        (ROWS[:2], [f"{ACKNOWLEDGED[2]} is at []"]),
        ([*ROWS, ROWS[1]], ["(1, 0) is there 2 times"]),
        ([*ROWS[1:], {**ROWS[0], "_offset": 7}], [f"{ACKNOWLEDGED[0]} is at [(0, 7)]"]),
    ],
    ids=["whole", "lost", "lost_of_unknown_offset", "doubled", "moved"],
)
def test_the_judgement_notices(rows: list[dict[str, object]], wrong: list[str]) -> None:
    assert broken_promises(ACKNOWLEDGED, rows) == wrong
