"""A cold date in few files is processed again, by a backfill and a replay, and every layer is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from typer.testing import CliRunner

from maintenance.cold_bronze.dates import compact_cold_dates
from pdp.cli import app
from platform_assets.resources.warehouse import Warehouse
from platform_core.lake.corrections import CorrectionLedger
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.cold_rig import with_footer
from tests.rigs.pipeline_rig import DAY, PipelineRig

FILES = 10


def layers(rig: PipelineRig) -> dict[str, list[Any]]:
    """Every row of the date behind Bronze."""
    tables = [rig.lake.silver(rig.events), rig.lake.quarantine(rig.events)]
    tables += [rig.lake.gold(rig.events, table) for table in rig.events.gold.tables]
    rows = {name: rig.lake.delta(name).to_pyarrow_table().to_pylist() for name in tables}
    with Warehouse().connect("test") as connection:
        for table in ("EVENTS", "EVENTS_FUNNEL"):
            place = f"{settings().snowflake_database}.EVENTS.{table}"
            rows[table] = connection.cursor().execute(f"SELECT * FROM {place}").fetchall()
    return {name: sorted(some, key=repr) for name, some in rows.items()}


def again(rig: PipelineRig, *command: str) -> None:
    """Ask for the date as a person does, and let the run come that discovery launches for it."""
    asked = CliRunner().invoke(app, command)
    assert asked.exit_code == 0, asked.output
    [request] = rig.sensor_tick().run_requests
    assert request.partition_key == DAY.isoformat()
    result = rig.run(DAY, discovered=True)
    assert result.success and all(check.passed for check in result.get_asset_check_evaluations())


def names(rig: PipelineRig) -> Sequence[str]:
    return [file.name for file in rig.lake.list_date(rig.events, DAY)]


def test_a_backfill_and_a_replay_of_few_files_make_of_them_what_was_made_of_many(pipeline_rig: PipelineRig) -> None:
    rig, clock = pipeline_rig, FakeClock(datetime.now(UTC))
    rig.with_quality(max_quarantined_ratio=1.0, warn_quarantined_ratio=1.0)
    for number in range(FILES):
        bad = {"device_type": "toaster"} if number == 3 else {}
        with_footer(rig.lake, rig.events, rig.events_file(DAY, 6, **bad))
    assert rig.run(DAY).success
    before, many = layers(rig), names(rig)
    cold = rig.events.model_copy(update={"bronze": rig.events.bronze.model_copy(update={"compact_after_days": 1})})
    compact_cold_dates(rig.lake, cold, rig.partitions, clock)
    few = names(rig)
    assert len(few) == 1 and len(rig.lake.list_folder(rig.events, DAY)[0]) == len([*many, *few])
    assert not rig.sensor_tick().run_requests

    again(rig, "backfill", "events", "--from", DAY.isoformat(), "--to", DAY.isoformat())
    row = rig.partitions.get("events", DAY)
    assert row is not None and (row.status, row.record_count, list(row.source_files)) == (State.DONE, 6 * FILES, few)
    assert layers(rig) == before
    assert {line.change for line in CorrectionLedger(rig.lake).read("events", DAY)} == {"none"}

    clock.advance(hours=2)
    compact_cold_dates(rig.lake, cold, rig.partitions, clock)
    assert [file.name for file in rig.lake.list_folder(rig.events, DAY)[0]] == few
    kept = [rule for rule in rig.events.quality.rules if rule.name != "known_device_type"]
    rig.with_quality(rules=tuple(kept))
    again(rig, "quarantine", "replay", "events")
    after = layers(rig)
    quarantine, silver = rig.lake.quarantine(rig.events), rig.lake.silver(rig.events)
    assert (len(before[quarantine]), after[quarantine]) == (6, [])
    assert len(after[silver]) == len(before[silver]) + 6 == 6 * FILES
    assert sum(event["events"] for event in after["gold/events"]) == 6 * FILES
