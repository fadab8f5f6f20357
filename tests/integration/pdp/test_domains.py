"""Commands beside an entry of domains.yaml that has a mistake, and what a removed domain is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

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
