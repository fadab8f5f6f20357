"""`pdp corrections` and `pdp quarantine`, on tables as the runs write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import Result

from pdp.commands import quarantine
from pdp.commands.corrections import REPROCESSES_SHOWN
from platform_core.domain.catalog import load_catalog
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.corrections import Correction, CorrectionLedger
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import settings

Run = Callable[..., Result]
SATURDAY = date(2026, 11, 21)


def line(table: str, change: str, key: str, before: str | None, after: str | None) -> Correction:
    at = datetime(2026, 11, 23, 7, tzinfo=UTC)
    return Correction("c1", "orders", SATURDAY, at, "run-1", "late files", 2, 0, 36, table, change, key, before, after)


@pytest.fixture
def corrected(lake: Lake) -> None:
    CorrectionLedger(lake).record(
        [
            line("orders", "updated", '{"city": "Berlin"}', '{"net_revenue": "10.50"}', '{"net_revenue": "12.75"}'),
            line("orders", "inserted", '{"city": "Bonn"}', None, '{"orders": 3, "net_revenue": null}'),
            line("orders_by_restaurant", "none", "{}", None, None),
        ]
    )


@pytest.mark.usefixtures("corrected")
def test_corrections_show_values_before_and_after_and_the_cause(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    shown = pdp("corrections", "orders", "2026-11-21")
    assert shown.exit_code == 0, shown.output
    assert "orders 2026-11-21, 2026-11-23 07:00:00 UTC: late files, +2 −0 files, +36 records, run run-1" in shown.stdout
    berlin = next(text for text in shown.stdout.splitlines() if "city=Berlin" in text)
    assert berlin.split() == ["orders", "updated", "city=Berlin", "net_revenue", "10.50", "12.75"]
    assert "NULL" in shown.stdout
    assert "Gold did not change: orders_by_restaurant" in shown.stdout
    [correction] = pdp_json("corrections")["corrections"]
    assert correction["record_difference"] == 36
    assert correction["rows"][0]["before"] == {"net_revenue": "10.50"}


@pytest.mark.usefixtures("corrected")
def test_corrections_can_be_narrowed(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    [correction] = pdp_json("corrections", "--table", "orders_by_restaurant")["corrections"]
    assert [row["change"] for row in correction["rows"]] == ["none"]
    assert pdp_json("corrections", "users") == {"corrections": []}
    assert "No reprocess" in pdp("corrections", "orders", "2026-11-20").stderr
    wrong = pdp("corrections", "--table", "order")
    assert wrong.exit_code == 2
    assert "Did you mean `orders`?" in wrong.stderr


@pytest.mark.usefixtures("corrected")
def test_corrections_without_a_date_are_the_newest_ones(lake: Lake, pdp: Run, pdp_json: Callable[..., Any]) -> None:
    ledger = CorrectionLedger(lake)
    for number in range(1, REPROCESSES_SHOWN + 1):
        later = line("orders", "none", "{}", None, None)
        ledger.record([replace(later, correction_id=f"later-{number}", at=later.at + timedelta(days=number))])
    shown = [each["correction_id"] for each in pdp_json("corrections")["corrections"]]
    assert shown == [f"later-{number}" for number in range(1, REPROCESSES_SHOWN + 1)]
    assert f"newest {REPROCESSES_SHOWN} reprocesses" in pdp("corrections", "orders").stderr
    for arguments in (["--all"], ["orders", "2026-11-21"]):
        assert len(pdp_json("corrections", *arguments)["corrections"]) == REPROCESSES_SHOWN + 1


@pytest.fixture
def quarantined(lake: Lake, put: Callable[..., None]) -> None:
    domain = load_catalog(settings().domains_file)["orders"]
    rows = [
        {
            "rule": rule,
            "reason": f"broke {rule}",
            "topic": "raw-orders",
            "partition": 1,
            "offset": offset,
            "kafka_timestamp": datetime(2026, 11, 21, tzinfo=UTC),
            "schema_id": 1,
            "record_hash": str(offset),
            "record": f'{{"order_id": {offset}, "status": "[eaten]"}}',
            domain.partition_key: day,
        }
        for offset, rule, day in (
            (9, "known_status", SATURDAY),
            (7, "total_adds_up", SATURDAY),
            (8, "known_status", SATURDAY),
            (3, "total_adds_up", date(2026, 11, 20)),
        )
    ]
    uri = lake.uri(lake.quarantine(domain))
    write_deltalake(uri, pa.Table.from_pylist(rows), partition_by=[domain.partition_key])
    put("orders", "2026-11-20", State.DONE)
    put("orders", "2026-11-21", State.DONE)


@pytest.mark.usefixtures("quarantined")
def test_quarantine_is_counted_by_date_and_rule(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    document = pdp_json("quarantine", "list", "orders")
    assert document["counts"] == [
        {"date": "2026-11-20", "rule": "total_adds_up", "rows": 1},
        {"date": "2026-11-21", "rule": "known_status", "rows": 2},
        {"date": "2026-11-21", "rule": "total_adds_up", "rows": 1},
    ]
    assert "3 rows of 1 date\n" in pdp("quarantine", "list", "orders", "2026-11-21").stdout
    empty = pdp("quarantine", "list", "users")
    assert empty.exit_code == 0
    assert "No row of `users`" in empty.stderr


@pytest.mark.usefixtures("quarantined")
def test_quarantine_without_a_date_is_counted_of_the_newest_and_opens_no_file_of_the_others(
    lake: Lake, pdp: Run, pdp_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "DATES_SHOWN", 1)
    for file in Path(lake.uri("silver/orders_quarantine")).glob("order_date=2026-11-20/*.parquet"):
        file.write_bytes(b"no reader comes here")
    document = pdp_json("quarantine", "list", "orders")
    assert ({each["date"] for each in document["counts"]}, document["left_out"]) == ({"2026-11-21"}, 1)
    assert "1 older date not counted: `--all`" in pdp("quarantine", "list", "orders").stderr
    replayed = pdp_json("quarantine", "replay", "orders")
    assert [each["date"] for each in replayed["dates"]] == ["2026-11-20", "2026-11-21"], "the log alone tells them"
    assert pdp("quarantine", "list", "orders", "--all").exit_code != 0


@pytest.mark.usefixtures("quarantined")
def test_quarantined_rows_are_shown_with_reason_offset_and_record(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    document = pdp_json("quarantine", "show", "orders", "2026-11-21", "--rule", "known_status", "--limit", "1")
    assert document["total"] == 2
    assert [row["offset"] for row in document["rows"]] == [8]
    assert document["rows"][0]["record"] == {"order_id": 8, "status": "[eaten]"}
    shown = pdp("quarantine", "show", "orders", "2026-11-21")
    assert "broke total_adds_up" in shown.stdout
    assert "[eaten]" in shown.stdout
    assert "3 of 3 rows, topic raw-orders" in shown.stdout


@pytest.mark.usefixtures("quarantined")
def test_replay_resets_the_dates_that_hold_such_rows(
    pdp: Run, pdp_json: Callable[..., Any], meta: DeltaPartitionMeta
) -> None:
    document = pdp_json("quarantine", "replay", "orders", "--rule", "known_status")
    assert [d["date"] for d in document["dates"]] == ["2026-11-21"]
    assert [row.status for row in meta.rows("orders")] == [State.DONE, State.PENDING]
    assert '"cause": "quarantine replay"' in meta.history("orders", SATURDAY)[-1].detail
    nothing = pdp("quarantine", "replay", "orders", "--from", "2026-11-22")
    assert nothing.exit_code == 1
    assert "nothing to replay" in nothing.stderr


def test_alerts_show_what_to_type_next_and_who_was_told(pdp: Run, pdp_json: Callable[..., Any], lake: Lake) -> None:
    assert "No alert" in pdp("alerts").stderr
    log, at = AlertLog(lake), datetime.now(UTC)
    command = "pdp partitions revive orders 2026-11-21"
    dead = Alert("dead:orders", AlertKind.DEAD, "orders", SATURDAY, "orders 2026-11-21 is DEAD.", "run r", command, at)
    log.new([dead])
    assert "nobody yet" in pdp("alerts", "orders").stdout
    log.delivered("dead:orders", "kafka")
    shown = pdp("alerts").stdout
    assert command in shown
    assert "kafka" in shown
    [alert] = pdp_json("alerts", "orders")["alerts"]
    assert (alert["kind"], alert["partition_date"], alert["channels"]) == ("DEAD", "2026-11-21", ["kafka"])
    assert pdp_json("alerts", "users") == {"alerts": []}
