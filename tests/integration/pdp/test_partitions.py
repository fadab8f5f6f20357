"""`pdp partitions` on a real partition_meta: what is shown, what is changed, what is refused."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from pdp.commands.partitions import DATES_SHOWN
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_rows import PartitionRows
from platform_core.partitions.partition_state import Event, State

Run = Callable[..., Result]


@pytest.fixture
def week(put: Callable[..., None]) -> None:
    put("orders", "2026-11-16", State.DONE)
    put("orders", "2026-11-17", State.FAILED)
    put("orders", "2026-11-18", State.DEAD)
    put("orders", "2026-11-19", State.IN_FLIGHT)
    put("users", "2026-11-18", State.DEAD)


@pytest.mark.usefixtures("week")
def test_list_shows_every_date_and_counts_by_status(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    shown = pdp("partitions", "list")
    assert shown.exit_code == 0
    assert "2026-11-16" in shown.stdout
    assert "1,234" in shown.stdout
    assert "Column [total] is gone." in shown.stdout
    assert "second line" not in shown.stdout
    assert "5 partitions: 1 IN_FLIGHT, 1 DONE, 1 FAILED, 2 DEAD" in shown.stdout
    document = pdp_json("partitions", "list")
    assert document["summary"] == {"DONE": 1, "FAILED": 1, "DEAD": 2, "IN_FLIGHT": 1}
    assert document["partitions"][0]["partition_date"] == "2026-11-16"


@pytest.mark.parametrize(
    ("arguments", "dates"),
    [
        (["users"], ["2026-11-18"]),
        (["orders", "--status", "dead", "--status", "DONE"], ["2026-11-16", "2026-11-18"]),
        (["orders", "--from", "2026-11-17", "--to", "2026-11-18"], ["2026-11-17", "2026-11-18"]),
        (["events"], []),
    ],
)
@pytest.mark.usefixtures("week")
def test_list_can_be_narrowed(pdp_json: Callable[..., Any], arguments: list[str], dates: list[str]) -> None:
    assert [p["partition_date"] for p in pdp_json("partitions", "list", *arguments)["partitions"]] == dates


def test_list_shows_the_newest_dates_and_those_in_trouble_until_it_is_asked_for_more(
    pdp: Run, pdp_json: Callable[..., Any], meta: DeltaPartitionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, changes = date(2026, 1, 1), []
    for number in range(DATES_SHOWN + 9):
        day = first + timedelta(days=number)
        run = {"run_id": "r"}
        changes += [
            Change("orders", day, State.UNDISCOVERED, Event.FILES_FOUND, set=run),
            Change("orders", day, State.PENDING, Event.RUN_STARTED, run_id="r"),
            Change("orders", day, State.IN_FLIGHT, Event.SUCCEEDED if number else Event.RUN_FAILED, run_id="r"),
        ]
    meta.apply(changes)
    rows, read = PartitionRows.rows, list[Partition]()
    with monkeypatch.context() as patched:
        patched.setattr(PartitionRows, "rows", lambda *arguments: read.extend(rows(*arguments)) or read)
        listed = pdp_json("partitions", "list")
    assert len(read) == DATES_SHOWN + 1, "of what is not shown the state alone is read"
    assert [row["status"] for row in listed["partitions"]] == ["FAILED", *["DONE"] * DATES_SHOWN]
    assert (listed["left_out"], sum(listed["summary"].values())) == (8, DATES_SHOWN + 9)
    assert "8 older dates DONE and not shown" in pdp("partitions", "list").stderr
    for arguments in (["--all"], ["--from", "2026-01-01"], ["orders", "--status", "DONE", "--status", "FAILED"]):
        assert len(pdp_json("partitions", "list", *arguments)["partitions"]) == DATES_SHOWN + 9


def test_list_of_an_empty_lake_says_so(pdp: Run) -> None:
    result = pdp("partitions", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No partition" in result.stderr


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-11-17", "pdp partitions reset orders 2026-11-17"),
        ("2026-11-18", "pdp partitions revive orders 2026-11-18"),
        ("2026-11-19", "the lease was renewed"),
        ("2026-11-19", "/runs/run-12345678"),
        ("2026-11-16", "… and 2 more"),
    ],
)
@pytest.mark.usefixtures("week")
def test_show_says_what_to_do_next(pdp: Run, day: str, expected: str) -> None:
    result = pdp("partitions", "show", "orders", day)
    assert result.exit_code == 0, result.output
    assert expected in result.stdout


def test_show_of_an_illegal_status_and_of_lost_files_says_what_to_type(
    pdp_json: Callable[..., Any], put: Callable[..., None], meta: DeltaPartitionMeta, lake: Lake
) -> None:
    for day in ("2026-11-18", "2026-11-19", "2026-11-20"):
        put("orders", day, State.DONE)
    assert pdp_json("partitions", "show", "orders", "2026-11-18")["next"] is None
    lake.delta(lake.partition_meta).update({"status": "'done'"}, predicate="partition_date = '2026-11-18'")
    advice = pdp_json("partitions", "show", "orders", "2026-11-18")["next"]
    assert advice.endswith("legal one. To process it again: pdp partitions reset orders 2026-11-18")
    for number, files in ((19, 1), (20, None)):
        row = meta.get("orders", date(2026, 11, number))
        assert row is not None
        for file in row.source_files[:files]:
            Path(lake.uri(file)).unlink()
    advice = pdp_json("partitions", "show", "orders", "2026-11-19")["next"]
    assert advice.startswith("Bronze has lost 1 file, first `bronze/orders/")
    assert advice.endswith("accept the loss: pdp partitions reset orders 2026-11-19 --accept-loss")
    assert "no file is left, so it cannot" in pdp_json("partitions", "show", "orders", "2026-11-20")["next"]


@pytest.mark.usefixtures("week")
def test_show_as_json_has_all_sixteen_columns(pdp_json: Callable[..., Any]) -> None:
    document = pdp_json("partitions", "show", "orders", "2026-11-19")
    assert len(document["partition"]) == 16
    assert len(document["partition"]["source_files"]) == 7
    assert document["lease_age"]


def test_show_of_a_date_without_a_row_tells_whether_bronze_has_it(pdp: Run, put: Callable[..., None]) -> None:
    put("orders", "2026-11-20", None)
    assert "1 file " in pdp("partitions", "show", "orders", "2026-11-20").stderr
    result = pdp("partitions", "show", "orders", "2026-11-21")
    assert result.exit_code == 1
    assert "no file" in result.stderr


@pytest.mark.usefixtures("week")
def test_history_has_every_transition(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    assert "PENDING → IN_FLIGHT" in pdp("partitions", "history", "orders", "2026-11-18").stdout
    lines = pdp_json("partitions", "history", "orders", "2026-11-18")["transitions"]
    assert [line["to_status"] for line in lines] == ["PENDING", "IN_FLIGHT", "FAILED", "DEAD"]
    assert len(pdp_json("partitions", "history", "orders")["transitions"]) == 3 + 3 + 4 + 2


@pytest.mark.usefixtures("week")
def test_reset_starts_again_and_remembers_who_asked(pdp: Run, meta: DeltaPartitionMeta) -> None:
    result = pdp("partitions", "reset", "orders", "2026-11-17", "2026-11-16")
    assert result.exit_code == 0, result.output
    assert "`discover_orders`" in result.stderr
    row = meta.get("orders", date(2026, 11, 17))
    assert row is not None
    assert (row.status, row.retry_count, row.error_message) == (State.PENDING, 0, None)
    detail = json.loads(meta.history("orders", date(2026, 11, 17))[-1].detail)
    assert detail == {"cause": "reset", "by": getpass.getuser()}


@pytest.mark.usefixtures("week")
def test_reset_of_a_range_refuses_what_a_run_holds_and_does_the_rest(
    pdp: Run, pdp_json: Callable[..., Any], meta: DeltaPartitionMeta
) -> None:
    document = pdp_json("partitions", "reset", "orders", "--from", "2026-11-18", code=1)
    assert {d["date"]: d["verdict"] for d in document["dates"]} == {"2026-11-18": "reset", "2026-11-19": "refused"}
    assert document["dates"][1]["run_id"] == "run-12345678"
    refused = pdp("partitions", "reset", "orders", "2026-11-19")
    assert refused.exit_code == 1
    assert "cancel that run" in refused.stdout
    assert "/runs/run-12345678" in refused.stderr
    assert pdp("partitions", "reset", "orders", "2026-11-19", "--force").exit_code == 0
    row = meta.get("orders", date(2026, 11, 19))
    assert row is not None
    assert row.status is State.PENDING


def test_reset_of_a_date_that_lost_bronze_waits_for_the_loss_to_be_accepted(
    pdp_json: Callable[..., Any], put: Callable[..., None], meta: DeltaPartitionMeta, lake: Lake
) -> None:
    put("orders", "2026-11-20", State.DONE)
    row = meta.get("orders", date(2026, 11, 20))
    assert row is not None
    Path(lake.uri(row.source_files[2])).unlink()
    [refused] = pdp_json("partitions", "reset", "orders", "2026-11-20", code=1)["dates"]
    assert "has lost 1 file," in refused["reason"] and row.source_files[2] in refused["reason"]
    assert meta.get("orders", date(2026, 11, 20)) == row
    [done] = pdp_json("partitions", "reset", "orders", "2026-11-20", "--accept-loss")["dates"]
    assert done["verdict"] == "reset"
    after = meta.get("orders", date(2026, 11, 20))
    assert after is not None and after.status is State.PENDING
    assert set(row.source_files) - set(after.source_files) == {row.source_files[2]}
    detail = json.loads(meta.history("orders", date(2026, 11, 20))[-1].detail)
    assert (detail["cause"], detail["gone_files"]) == ("loss accepted", 1)


def test_a_date_whose_compaction_note_cannot_be_read_is_refused_and_the_others_are_reset(
    pdp_json: Callable[..., Any], put: Callable[..., None], meta: DeltaPartitionMeta, lake: Lake
) -> None:
    for day in ("2026-11-19", "2026-11-20"):
        put("orders", day, State.DONE)
    row = meta.get("orders", date(2026, 11, 19))
    assert row is not None
    Path(lake.uri(row.source_files[0])).with_name(lake.compaction_note).write_bytes(b"{}")
    week = ("orders", "--from", "2026-11-19", "--to", "2026-11-20")
    refused, reset = pdp_json("partitions", "reset", *week, "--accept-loss", code=1)["dates"]
    assert (refused["verdict"], reset["verdict"]) == ("refused", "reset")
    assert lake.compaction_note in refused["reason"] and "remove it" in refused["reason"]
    assert meta.get("orders", date(2026, 11, 19)) == row
    assert lake.compaction_note in pdp_json("partitions", "show", "orders", "2026-11-19")["next"]


@pytest.mark.parametrize("accept", [(), ("--accept-loss",)])
def test_reset_of_a_date_without_bronze_is_refused(
    pdp_json: Callable[..., Any], put: Callable[..., None], meta: DeltaPartitionMeta, accept: tuple[str, ...]
) -> None:
    put("orders", "2026-11-20", State.DONE, bronze=False)
    [refused] = pdp_json("partitions", "reset", "orders", "2026-11-20", *accept, code=1)["dates"]
    assert "nothing to process" in refused["reason"]
    row = meta.get("orders", date(2026, 11, 20))
    assert row is not None and row.status is State.DONE


def test_revive_of_a_date_before_the_domains_start_is_refused(
    pdp_json: Callable[..., Any], put: Callable[..., None]
) -> None:
    put("orders", "1999-01-01", State.DEAD)
    [refused] = pdp_json("partitions", "revive", "orders", "1999-01-01", code=1)["dates"]
    assert "before the domain's start_date" in refused["reason"]


@pytest.mark.usefixtures("week")
def test_reset_of_nothing_ends_with_1(pdp: Run) -> None:
    assert pdp("partitions", "reset", "orders", "2026-12-24").exit_code == 1
    assert pdp("partitions", "reset", "orders", "--from", "2026-12-24").exit_code == 1


@pytest.mark.usefixtures("week")
def test_revive_of_one_domain_of_all_and_of_a_date_that_lives(pdp: Run, pdp_json: Callable[..., Any]) -> None:
    not_dead = pdp("partitions", "revive", "orders", "2026-11-17")
    assert not_dead.exit_code == 1
    assert "FAILED, not DEAD" in not_dead.stdout
    assert [d["date"] for d in pdp_json("partitions", "revive", "orders")["dates"]] == ["2026-11-18"]
    assert [d["domain"] for d in pdp_json("partitions", "revive", "--all")["dates"]] == ["users"]
    nothing = pdp("partitions", "revive", "--all")
    assert nothing.exit_code == 0
    assert "No date is DEAD" in nothing.stderr
    last = pdp_json("partitions", "history", "users")["transitions"][-1]
    assert (last["event"], last["detail"]["cause"]) == ("reset", "revive")
