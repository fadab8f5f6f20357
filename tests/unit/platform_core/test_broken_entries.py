"""A mistake in one domain's entry is that domain's: the others load, and who looks is told which and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerting.collect import broken_domain_alerts, removed_domain_alerts
from erasure.subject import holders
from platform_assets import definitions
from platform_assets.asset_checks.catalog import evaluate
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.domain.catalog_checks import refuse_unreadable
from platform_core.errors import ConfigurationError
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY
from producers import cli

OTHERS = ["events", "orders", "restaurants"]
TEXT = (REPOSITORY / "domains" / "domains.yaml").read_text()
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def written(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write the file with another entry of `users`."""
    entries = yaml.safe_load(TEXT)["domains"]
    change(entries)
    path = folder / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": entries}, sort_keys=False))
    return path


def in_users(**keys: object) -> Callable[[dict[str, Any]], object]:
    return lambda entries: entries["users"].update(keys)


def plugin(folder: Path, **files: str) -> str:
    """Make a package that nobody has imported yet."""
    name = f"broken_{folder.name.replace('-', '_')}"
    (folder / name).mkdir()
    for file, text in {"__init__": "", **files}.items():
        (folder / name / (file + (".json" if file == "contract" else ".py"))).write_text(text)
    return name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (in_users(schedule="0 25 * * *"), "key `schedule`"),
        (in_users(colour="red"), "`colour` is unknown"),
        (in_users(plugin="nowhere.users"), "no package `nowhere.users`"),
        (in_users(start_date="soon"), "key `start_date`"),
        (in_users(silver={"primary_key": ["nope"]}), "`nope` is no column"),
        (in_users(subjects={"user": "nope"}), "key `subjects.user`: `nope` is no property"),
        (in_users(topic=None), "key `topic`"),
        (in_users(topic=[1]), "key `topic`"),
        (lambda entries: entries.update(users=None), "must be a mapping"),
        (lambda entries: entries.update(users="soon"), "must be a mapping"),
        (lambda entries: entries.update(users=entries["users"] | {7: 8}), "users"),
    ],
)
def test_an_entry_with_a_mistake_leaves_the_others(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    catalog = load_catalog(written(tmp_path, change))
    assert catalog.names == OTHERS
    assert list(catalog.broken) == ["users"] and says in catalog.broken["users"]
    assert "users" in catalog.broken["users"]
    with pytest.raises(ConfigurationError, match="`users` cannot run"):
        _ = catalog["users"]
    with pytest.raises(ConfigurationError):
        catalog.require_whole()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT + "    owner: team:other\n", "the key `owner` occurs twice"),
        (TEXT + "    quality: {}\n", "the key `quality` occurs twice"),
        (TEXT.replace("  users:\n", "  users:\n    description: &d [x, *d]\n"), "users"),
        (TEXT + "  users:\n    owner: team:other\n", "the key `users` occurs twice"),
        (TEXT + "    ? [a, b]\n    : 1\n", "users"),
    ],
)
def test_text_that_cannot_be_read_within_an_entry_is_that_entrys(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "domains.yaml"
    path.write_text(text)
    catalog = load_catalog(path)
    assert catalog.names == OTHERS and says in catalog.broken["users"]


def test_an_impossible_date_is_one_entrys(tmp_path: Path) -> None:
    head, _, tail = TEXT.rpartition("start_date: 2024-01-01")
    path = tmp_path / "domains.yaml"
    path.write_text(f"{head}start_date: 2026-02-30{tail}")
    assert load_catalog(path).names == OTHERS


@pytest.mark.parametrize("text", ["domains: [", "domains: []", "- a", "", "domains: {}\nmore: {}", "x: {}"])
def test_a_file_that_is_no_list_of_domains_stops_everything(tmp_path: Path, text: str) -> None:
    path = tmp_path / "domains.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(path)):
        load_catalog(path)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"contract": "{"},
        {"contract": json.dumps({"$schema": "x", "type": "object", "additionalProperties": True})},
    ],
)
def test_a_package_with_a_wrong_contract_is_its_own_domains(tmp_path: Path, files: dict[str, str]) -> None:
    catalog = load_catalog(written(tmp_path, in_users(plugin=plugin(tmp_path, **files))))
    assert catalog.names == OTHERS and "contract" in catalog.broken["users"]


def test_a_package_whose_parent_raises_is_its_own_domains(tmp_path: Path) -> None:
    name = plugin(tmp_path, __init__="1 / 0")
    catalog = load_catalog(written(tmp_path, in_users(plugin=f"{name}.inner")))
    assert catalog.names == OTHERS and "ZeroDivisionError" in catalog.broken["users"]


def test_two_domains_that_share_a_place_are_both_concerned_and_no_other(tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, lambda e: e["users"]["topic"].update(name="raw-orders")))
    assert catalog.names == ["events", "restaurants"]
    assert all("`topic.name` `raw-orders`" in error for error in catalog.broken.values())


def test_the_places_of_a_broken_entry_stay_taken(tmp_path: Path) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries["orders"] |= {"colour": "red"}
        entries["users"]["silver"]["prefix"] = "orders"

    catalog = load_catalog(written(tmp_path, change))
    assert catalog.names == ["events", "restaurants"]
    assert "`colour`" in catalog.broken["orders"] and "`silver.prefix`" in catalog.broken["users"]


def test_unreadable_sql_breaks_its_domain_where_sql_is_run(tmp_path: Path) -> None:
    rules = {"rules": [{"name": "typo", "expression": "teir = 'gold'"}]}
    loaded = load_catalog(written(tmp_path, in_users(quality=rules)))
    assert "users" in loaded, "the sink goes on with it"
    catalog = loaded.checked(refuse_unreadable)
    assert catalog.names == OTHERS and "`teir`" in catalog.broken["users"]


def test_dagster_loads_the_others_and_shows_the_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = load_catalog(written(tmp_path, in_users(schedule="hourly")))
    # What only Dagster would refuse is a mistake as well.
    made_of = definitions.domain_defs
    monkeypatch.setattr(
        definitions,
        "domain_defs",
        lambda domain, settings: 1 / 0 if domain.name == "orders" else made_of(domain, settings),
    )
    repository = definitions.build_defs(catalog).get_repository_def()
    sensors = {sensor.name for sensor in repository.sensor_defs}
    assert sensors == {"discover_events", "discover_restaurants", "offset_coverage", "watch"}
    assert "domain_broken domain=users" in caplog.text and "domain_broken domain=orders" in caplog.text


def test_the_check_is_red_and_names_it(tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, in_users(schedule="hourly")))
    outcome = evaluate(catalog)
    assert not outcome.passed and "`users`" in outcome.description and "`hourly` is no cron" in outcome.facts["users"]
    assert evaluate(load_catalog(REPOSITORY / "domains" / "domains.yaml")).passed


def test_a_broken_domain_is_an_alert_a_day_and_not_a_removed_one() -> None:
    [alert] = broken_domain_alerts({"users": "no cron"}, NOW, "http://ui")
    [again] = broken_domain_alerts({"users": "no cron"}, NOW.replace(hour=23), "http://ui")
    [next_day] = broken_domain_alerts({"users": "no cron"}, NOW.replace(day=28), "http://ui")
    assert alert.key == again.key != next_day.key
    assert alert.kind == "DOMAIN_BROKEN" and "no cron" in alert.what and "the other domains do" in alert.what
    row = Partition("users", date(2026, 11, 20), State.DONE, updated_at=NOW)
    assert removed_domain_alerts({"users"}, [row], "http://ui") == []
    [removed] = removed_domain_alerts({"orders"}, [row, row], "http://ui")
    assert removed.kind == "DOMAIN_REMOVED" and "2 dates of it are left" in removed.what


def test_nobody_is_erased_while_a_domain_cannot_be_looked_at(catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError, match="no cron"):
        holders(Catalog(list(catalog), {"couriers": "no cron"}), "user", "7")


def test_the_command_of_ci_fails_on_any_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from platform_core.settings import settings

    for number, change in enumerate(
        (in_users(schedule="hourly"), in_users(quality={"rules": [{"name": "typo", "expression": "teir"}]}))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("DOMAINS_FILE", str(written(folder, change)))
        settings.cache_clear()
        try:
            assert cli.main(["check-contracts"]) == 2
        finally:
            settings.cache_clear()
        assert "`users`" in capsys.readouterr().err


def test_the_command_of_a_broken_producer_names_the_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from platform_core.settings import settings

    monkeypatch.setenv("DOMAINS_FILE", str(written(tmp_path, in_users(schedule="hourly"))))
    settings.cache_clear()
    try:
        assert cli.main(["users"]) == 2
    finally:
        settings.cache_clear()
    assert "`hourly` is no cron" in capsys.readouterr().err
