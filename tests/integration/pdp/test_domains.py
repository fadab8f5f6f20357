"""Commands beside an entry of domains.yaml that has a mistake, and what a removed domain is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, settings

Run = Callable[..., Result]


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]) -> None:
    entries = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())["domains"]
    change(entries)
    path = folder / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": entries}))
    monkeypatch.setenv("DOMAINS_FILE", str(path))
    settings.cache_clear()


def test_commands_work_for_the_others_and_name_the_broken_one(
    pdp: Run, pdp_json: Callable[..., Any], put: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("orders", "2026-11-18", State.DONE)
    put("users", "2026-11-18", State.DEAD)
    use(tmp_path, monkeypatch, lambda entries: entries["users"].update(schedule="hourly"))
    shown = pdp("partitions", "show", "orders", "2026-11-18")
    assert shown.exit_code == 0 and "warning: domain `users` cannot run" in shown.stderr
    refused = pdp("partitions", "show", "users", "2026-11-18")
    assert refused.exit_code == 2 and "`hourly` is no cron" in refused.stderr
    assert pdp("partitions", "revive", "--all").exit_code == 0
    assert {p["domain"]: p["status"] for p in pdp_json("partitions", "list")["partitions"]}["users"] == "DEAD"
    audited = pdp_json("audit", "--stage", "silver", "--date", "2026-11-18", code=1)
    assert "hourly" in str(audited) and not audited["clean"]
    rows = {row["domain"]: row for row in pdp_json("domains", code=1)["domains"]}
    assert rows["users"]["state"] == "broken" and "`hourly` is no cron" in rows["users"]["why"]
    assert (rows["orders"]["state"], rows["orders"]["dates"]) == ("runs", 1)


def test_a_rule_that_is_no_sql_is_shown_and_a_removed_domain_too(
    pdp_json: Callable[..., Any], put: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("users", "2026-11-18", State.DONE)

    def change(entries: dict[str, Any]) -> None:
        del entries["users"]
        entries["orders"]["quality"]["rules"][0]["expression"] = "nobody = 1"

    use(tmp_path, monkeypatch, change)
    rows = {row["domain"]: row for row in pdp_json("domains", code=1)["domains"]}
    assert rows["orders"]["state"] == "broken" and "`nobody` is no column" in rows["orders"]["why"]
    assert (rows["users"]["state"], rows["users"]["dates"]) == ("removed", 1)


def test_what_a_removed_domain_leaves_is_listed_and_what_a_broken_one_has_is_not(
    pdp_json: Callable[..., Any],
    put: Callable[..., None],
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for domain in ("orders", "users", "events"):
        put(domain, "2026-11-18", State.DONE)
        put(domain, "2026-11-19", State.DONE)
    for folder in ("silver/users/_delta_log", "silver/users_quarantine/_delta_log", "silver/orders/_delta_log"):
        Path(lake.path(folder)).mkdir(parents=True)
    Path(lake.path("gold/users/_delta_log")).mkdir(parents=True)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    for name in ("users", "orders"):
        (tmp_path / "state" / f"{name}.json").write_text("{}")

    def change(entries: dict[str, Any]) -> None:
        del entries["users"]
        entries["orders"]["schedule"] = "hourly"
        entries["events"]["bronze"]["prefix"] = "web/events"

    use(tmp_path, monkeypatch, change)
    document = pdp_json("domains", "--leftovers", code=1)
    found = {(each["kind"], each["name"]): each["holds"] for each in document["leftovers"]}
    assert found.pop(("watermark", str(tmp_path / "state" / "users.json"))).startswith("saved 20")
    assert {(*of, holds) for of, holds in found.items()} == {
        ("partitions", "partition_meta, users", "2 dates, 2026-11-18 to 2026-11-19"),
        ("folder", "bronze/users", "2 dates"),
        ("folder", "bronze/events", "2 dates"),
        ("table", "silver/users", "0 dates"),
        ("table", "silver/users_quarantine", "0 dates"),
        ("table", "gold/users", "0 dates"),
    }
    assert any("Kafka" in note for note in document["notes"]) and any("warehouse" in note for note in document["notes"])
