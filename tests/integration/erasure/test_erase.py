"""One person erased from Kafka, Bronze, Silver and its history, with everybody else's rows as they were."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from audit.report import AuditReport, Reason, Stage
from audit.run import audit
from erasure.run import Erasure, Outcome
from erasure.subject import holders
from erasure.topics import Topics
from pdp.cli import app
from platform_core.clock import SystemClock
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from platform_kafka.formats.dead_letter_headers import identity_of, write
from tests.rigs.pipeline_rig import PipelineRig
from tests.rigs.sink.rig import SinkRig

USER = 7


@pytest.fixture
def rig(sink_pipeline_rig: PipelineRig) -> PipelineRig:
    """The pipeline over what the real sink writes."""
    return sink_pipeline_rig


def process_all(rig: PipelineRig) -> None:
    """Run what discovery asks for until it asks for nothing."""
    job = rig.defs.resolve_job_def("data_pipeline_events")
    while requests := rig.sensor_tick().run_requests:
        for request in requests:
            done = job.execute_in_process(
                partition_key=request.partition_key, tags=request.tags, instance=rig.instance, raise_on_error=False
            )
            assert done.success


def event(sink_rig: SinkRig, number: int, user: int) -> dict[str, object]:
    """An event of yesterday or of the day before."""
    return {**json.loads(sink_rig.event(1 + number % 2)), "event_id": str(number), "user_id": user}


def erase(rig: PipelineRig) -> Outcome:
    with closing(Topics(settings())) as topics:
        erasure = Erasure(
            settings(),
            rig.lake,
            rig.partitions,
            topics,
            kind="user",
            held=holders(rig.catalog, "user", str(USER)),
            operator="test",
            clock=SystemClock(),
            progress=print,
        )
        return erasure.run()


def everybody(sink_rig: SinkRig) -> list[tuple[int, int, int]]:
    return sorted((row["user_id"], row["_partition"], row["_offset"]) for row in sink_rig.rows())


def identities(sink_rig: SinkRig) -> list[str]:
    """Of the dead letters of others."""
    letters = sink_rig.read(f"dlq-{sink_rig.topic}")
    return sorted(identity_of(message) for message in letters if message.key() != str(USER).encode())


def audited(rig: PipelineRig) -> AuditReport:
    return audit(settings(), rig.catalog, rig.lake, stages={Stage.BRONZE, Stage.SILVER, Stage.GOLD, Stage.WAREHOUSE})


def test_a_person_is_erased_from_every_layer_and_nobody_else(rig: PipelineRig, sink_rig: SinkRig) -> None:
    producer = sink_rig.producer()
    for number in range(120):
        record = event(sink_rig, number, number % 12)
        if number in (19, 8):  # one of the person and one of another: a rule refuses them
            record["event_type"] = "teleport"
        producer.produce(sink_rig.topic, json.dumps(record), str(number % 12))
    for number in (USER, 8):
        producer.produce(sink_rig.topic, json.dumps({"user_id": number, "event_id": None}), str(number))
    refusal = write(topic=sink_rig.topic, timestamp=None, error_class="too_large", error="", schema_id=None)
    producer.produce(f"dlq-{sink_rig.topic}", b"{}", b"8", headers=[*refusal])  # by a producer: it has no offset
    assert producer.flush(30) == 0
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=15)
    process_all(rig)
    before, known = everybody(sink_rig), identities(sink_rig)
    assert len(known) == 2
    quarantine = rig.lake.delta("silver/events_quarantine").to_pyarrow_table()
    assert f'"user_id":{USER},' in "".join(quarantine["record"].to_pylist())

    first = erase(rig)
    assert not first.complete
    assert first.before.of_subject > 20
    assert {state for _, _, state in first.waiting} == {State.PENDING}
    assert everybody(sink_rig) == [row for row in before if row[0] != USER]
    assert audited(rig).problems == ()

    process_all(rig)
    second = erase(rig)
    assert second.complete, [line for line in second.after.lines if line.of_subject]
    of_others = {(line.layer, line.place): line.others for line in first.before.lines}
    for line in second.after.lines:
        if line.layer in ("bronze", "silver", "quarantine") or line.place.startswith("dlq-"):
            assert line.others == of_others[line.layer, line.place]
    assert identities(sink_rig) == known, "what a redrive has noted is still known"
    report = audited(rig)
    assert report.problems == ()
    erased = sum(user == USER for user, _, _ in before) + 1  # and the dead letter
    assert sum(result.explained.get(Reason.ERASED, 0) for result in report.results) == erased

    # By bytes, not by what the code that erased says: the key as JSON has it, in every file of the lake.
    needles = (f'"user_id":{USER},'.encode(), f'"user_id":{USER}}}'.encode())
    for path in sink_rig.lake.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            assert not any(needle in path.read_bytes() for needle in needles), path
        elif path.suffix == ".parquet" and "pipeline-metadata" not in path.parts:
            for row in pq.ParquetFile(path).read().to_pylist():
                assert row.get("user_id") != USER
                assert f'"user_id":{USER},' not in str(row.get("record"))
    assert not [m for m in sink_rig.read(f"dlq-{sink_rig.topic}") if m.key() == str(USER).encode()]
    assert not [m for m in sink_rig.read(sink_rig.topic) if m.key() == str(USER).encode()]


def test_the_command_counts_and_asks_and_says_what_waits(rig: PipelineRig, sink_rig: SinkRig) -> None:
    producer = sink_rig.producer()
    for number in range(0, 20, 2):  # of one date
        record = event(sink_rig, number, number // 2)
        if record["user_id"] in (USER, 3):
            record["properties"] = {"query": "A gift for Jane Roe"}
        producer.produce(sink_rig.topic, json.dumps(record), str(number // 2))
    assert producer.flush(30) == 0
    sink_rig.run("--until-caught-up")
    process_all(rig)
    run = CliRunner().invoke
    counted = run(app, ["erase", "user", str(USER), "--dry-run", "--json"])
    assert counted.exit_code == 0, counted.output
    assert json.loads(counted.stdout)["of_subject"] == 3  # Kafka, Bronze, Silver
    named = run(app, ["erase", "user", str(USER), "--dry-run", "--json", "--word", "jane roe", "--word", " "])
    assert named.exit_code == 0, named.output
    [mention] = json.loads(named.stdout)["mentions"]
    assert (mention["domain"], mention["column"], mention["rows"]) == ("events", "properties", 1)
    assert "jane" not in named.output.lower()
    refused = run(app, ["erase", "user", str(USER)], input="n\n")
    assert refused.exit_code == 1
    assert len(sink_rig.rows()) == 10
    copies = Path(rig.lake.path(rig.lake.working_copies))
    copies.mkdir(parents=True, exist_ok=True)
    (left := copies / "events-2026-01-05-0a1b.parquet").write_bytes(b"cut off")
    first = run(app, ["erase", "user", str(USER), "--yes", "--json"])
    assert first.exit_code == 1, first.output
    document = json.loads(first.stdout)
    assert (document["complete"], document["rewritten_files"], len(document["waiting"])) == (False, 1, 1)
    assert date.fromisoformat(document["waiting"][0]["date"])
    assert not left.exists()
    process_all(rig)
    done = run(app, ["erase", "user", str(USER), "--yes"])
    assert done.exit_code == 0, done.output
    assert "nothing of the person" in done.stdout
    assert len(sink_rig.rows()) == 9
    sink_rig.lake.rename(f"{sink_rig.lake}.unmounted")
    sink_rig.lake.mkdir()
    unmounted = run(app, ["erase", "user", str(USER), "--yes"])
    assert unmounted.exit_code == 2, unmounted.output
    assert "not mounted" in unmounted.stderr and "nothing of the person" not in unmounted.stdout
    assert list(sink_rig.lake.iterdir()) == []
    nobody = run(app, ["erase", "courier", "1", "--dry-run"])
    assert nobody.exit_code == 2
    assert "`user`" in nobody.stderr
