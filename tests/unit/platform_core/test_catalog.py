"""domains.yaml: what is read, and how each mistake is explained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path

import pytest
import yaml

from platform_core.domain.catalog import load_catalog
from platform_core.domain.catalog_checks import refuse_unreadable
from platform_core.domain.code_version import code_version
from platform_core.domain.plugin import load_aggregation, load_transform
from platform_core.domain.source import PostgresCdc
from platform_core.domain.topic_names import PLATFORM_TOPICS
from platform_core.errors import ConfigurationError
from platform_core.settings import REPOSITORY

CONTRACT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"id": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}},
    "required": ["id", "at"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
ENTRY = {
    "description": "Couriers",
    "owner": "team:supply",
    "start_date": "2025-01-01",
    "topic": {"key": "id"},
    "bronze": {"partition_key": "day", "timestamp_col": "at"},
    "silver": {"primary_key": ["id"]},
    "gold": {"tables": {"couriers": ["day"]}},
}


def write(folder: Path, name: str, entry: Mapping[str, object], contract: object = CONTRACT) -> Path:
    # A name of its own a test: Python remembers where it found a package.
    plugin = f"plugin_{name}_{folder.name}"
    package = folder / plugin
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "contract.json").write_text(json.dumps(contract))
    path = folder / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": {name: {**entry, "plugin": plugin}}}))
    return path


def test_the_four_domains_load_with_contracts_and_plugins() -> None:
    catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    assert catalog.names == ["events", "orders", "restaurants", "users"]
    for domain in catalog:
        assert domain.topic.name == f"raw-{domain.name}"
        assert domain.contract.columns
        load_transform(domain)
        load_aggregation(domain)


def test_defaults_follow_from_the_name(tmp_path: Path) -> None:
    domain = load_catalog(write(tmp_path, "couriers_a", ENTRY))["couriers_a"]
    assert (domain.topic.name, domain.bronze.prefix, domain.warehouse_schema) == (
        "raw-couriers_a",
        "couriers_a",
        "COURIERS_A",
    )
    assert domain.schedule == "0 6 * * *"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": "red"}, "key `entry`: `colour` is unknown.*Legal keys are description, owner.*quality[.]"),
        ({"owner": "bob"}, "key `owner`: .*e-mail address or `team:<name>`"),
        ({"topic": {"key": "id", "partitons": 3}}, "key `topic`: `partitons` is unknown.*Legal keys are .*partitions"),
        ({"gold": {"tables": {"couriers": ["id"]}}}, "first merge key must be `day`"),
        ({"gold": {"tables": {}}}, "key `gold.tables`"),
        ({"start_date": "soon"}, "key `start_date`"),
        ({"silver": None}, "key `silver`"),
    ],
)
def test_a_mistake_names_file_domain_and_key(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = write(tmp_path, "couriers_b", {**ENTRY, **change})
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_catalog(path)
    assert str(path) in str(caught.value)
    assert "couriers_b" in str(caught.value)


@pytest.mark.parametrize(
    ("block", "change", "says"),
    [
        ("topic", {"partitions": True}, r"key `topic\.partitions`: .*valid integer"),
        ("topic", {"name": "dlq-raw-events"}, "key `topic.name`: `dlq-raw-events` is a topic of the platform"),
        *(("topic", {"name": name}, f"`{name}` is a topic of the platform") for name in PLATFORM_TOPICS),
        ("bronze", {"bucket": "pipeline-metadata"}, "key `bronze.bucket`: `pipeline-metadata` is the platform's own"),
        ("bronze", {"prefix": "../x"}, r"key `bronze\.prefix`"),
        ("bronze", {"prefix": ""}, r"key `bronze\.prefix`"),
        ("bronze", {"compact_after_days": 0}, r"key `bronze\.compact_after_days`: .*greater than or equal to 1"),
        ("bronze", {"compact_after_days": "90"}, r"key `bronze\.compact_after_days`: .*valid integer"),
        ("silver", {"primary_key": ["nope"]}, "key `silver.primary_key`: `nope` is no column"),
        ("silver", {"order_by": ["nope"]}, "key `silver.order_by`: `nope` is no column"),
        ("silver", {"z_order_by": ["nope"]}, "key `silver.z_order_by`: `nope` is no column"),
        ("silver", {"z_order_by": ["day"]}, "key `silver.z_order_by`: `day` is the same in all rows of a date"),
        ("gold", {"tables": {"order": ["day"]}}, "key `gold.tables.order`: `order` is a reserved word"),
        ("gold", {"tables": {"couriers": ["day", "group"]}}, "`group` is a reserved word"),
        ("gold", {"tables": {"couriers": ["day", "day"]}}, "a merge key occurs twice"),
        ("gold", {"tables": {"a-b": ["day"]}}, "key `gold.tables"),
        ("quality", {"volume": {"min_ratio": 3, "max_ratio": 2}}, "min_ratio 3.0 is above max_ratio 2.0"),
        (None, {"warehouse_schema": "GROUP"}, "key `warehouse_schema`: `GROUP` is reserved"),
        (None, {"warehouse_schema": "PLATFORM"}, "`PLATFORM` is reserved"),
        (None, {"schedule": "0 25 * * *"}, "key `schedule`: `0 25 [*] [*] [*]` is no cron"),
        (None, {"schedule": "hourly"}, "is no cron"),
        (None, {"sla_deadline": 750}, "key `sla_deadline`: 750 is no time of day"),
        (None, {"start_date": "2099-01-01"}, "key `start_date`: 2099-01-01 is more than a year ahead"),
    ],
)
def test_what_would_fail_later_is_refused_at_start(
    tmp_path: Path, block: str | None, change: dict[str, object], says: str
) -> None:
    entry: dict[str, object] = {**ENTRY, "quality": {}}
    changed = change if block is None else {block: {**entry[block], **change}}  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match=says):
        load_catalog(write(tmp_path, "couriers_y", {**entry, **changed}))


def test_yaml_has_no_conveniences(tmp_path: Path) -> None:
    path = write(tmp_path, "couriers_z", ENTRY)
    text = path.read_text()
    path.write_text(text + "    sla_deadline: 12:30\n    schedule: 0/15 9-17 * * 1,3\n")
    domain = load_catalog(path)["couriers_z"]
    assert (domain.sla_deadline, domain.schedule) == (time(12, 30), "0/15 9-17 * * 1,3")
    for twice in ("    owner: team:other\n", "    gold:\n      tables: {}\n", text.removeprefix("domains:\n")):
        path.write_text(text + twice)
        with pytest.raises(ConfigurationError, match=r"the key `\w+` occurs twice"):
            load_catalog(path)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("id > 0", None),
        ("made_by_the_package is not null and at < current_timestamp() and day is not null", None),
        ("teir = 'gold'", "`teir` is no column of Silver"),
        ("id >", "is no SQL expression"),
        ("id > 0; drop table x", "is no(t one)? SQL expression"),
        ("id from x", "is not one SQL expression"),
    ],
)
def test_sql_is_read_where_it_will_run(tmp_path: Path, expression: str, says: str | None) -> None:
    rules = {"rules": [{"name": "good", "expression": expression}]}
    domain = load_catalog(write(tmp_path, "couriers_q", {**ENTRY, "quality": rules}))["couriers_q"]
    (domain.folder / "transform.py").write_text('df.withColumn("made_by_the_package", x)')
    if says is None:
        refuse_unreadable(domain)
    else:
        with pytest.raises(ConfigurationError, match=rf"key `quality\.rules\.0\.expression`: .*{says}"):
            refuse_unreadable(domain)


def test_the_sql_of_the_four_domains_is_readable() -> None:
    for domain in load_catalog(REPOSITORY / "domains" / "domains.yaml"):
        refuse_unreadable(domain)


def test_a_domain_is_not_within_the_place_of_another(tmp_path: Path) -> None:
    write(tmp_path, "couriers", ENTRY)
    path = write(tmp_path, "couriers_quarantine", ENTRY)
    entries = {
        n: {**ENTRY, "plugin": f"plugin_{n}_{tmp_path.name}", "gold": {"tables": {n: ["day"]}}}
        for n in ("couriers", "couriers_quarantine")
    }
    path.write_text(yaml.safe_dump({"domains": entries}))
    with pytest.raises(ConfigurationError, match=r"`silver.prefix` `silver/couriers_quarantine` is used by"):
        load_catalog(path)


def test_an_order_of_rows_and_fewer_files_are_no_change_of_the_domain_s_code(tmp_path: Path) -> None:
    plain = load_catalog(write(tmp_path, "couriers_z", ENTRY))["couriers_z"]
    ordered = plain.model_copy(update={"silver": plain.silver.model_copy(update={"z_order_by": ("id",)})})
    assert code_version(ordered) == code_version(plain)
    compacted = plain.model_copy(update={"bronze": plain.bronze.model_copy(update={"compact_after_days": 90})})
    assert code_version(compacted) == code_version(plain)
    renamed = plain.model_copy(update={"silver": plain.silver.model_copy(update={"order_by": ("at",)})})
    assert code_version(renamed) != code_version(plain)


def test_a_global_key_is_declared_and_who_does_not_declare_it_stays_as_it_was(tmp_path: Path) -> None:
    domain = load_catalog(write(tmp_path, "couriers_g", ENTRY))["couriers_g"]
    assert not domain.silver.global_key and '"global_key"' not in domain.model_dump_json()
    silver = {**ENTRY["silver"], "global_key": True}  # type: ignore[dict-item]
    declared = load_catalog(write(tmp_path, "couriers_h", {**ENTRY, "silver": silver}))["couriers_h"]
    assert '"global_key":true' in declared.model_dump_json()
    stamped = {
        "kind": "postgres_increment",
        "table": "couriers",
        "key": "id",
        "version": "at",
        "stamp": "at",
    }
    with pytest.raises(ConfigurationError, match=r"`silver\.global_key`: records are dated by their extraction"):
        load_catalog(write(tmp_path, "couriers_i", {**ENTRY, "silver": silver, "source": stamped}))


def test_a_missing_package_says_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": {"ghosts": ENTRY}}))
    with pytest.raises(ConfigurationError, match=r"no package `domains.ghosts`.*contract.json"):
        load_catalog(path)


def test_two_domains_cannot_share_a_topic(tmp_path: Path) -> None:
    write(tmp_path, "couriers_c", ENTRY)
    path = write(tmp_path, "couriers_d", ENTRY)
    shared = {"key": "id", "name": "raw-both"}
    entries = {
        n: {**ENTRY, "topic": shared, "plugin": f"plugin_{n}_{tmp_path.name}", "gold": {"tables": {n: ["day"]}}}
        for n in ("couriers_c", "couriers_d")
    }
    path.write_text(yaml.safe_dump({"domains": entries}))
    with pytest.raises(ConfigurationError, match=r"`topic.name` `raw-both` is used by domains"):
        load_catalog(path)


CDC = {"kind": "postgres_cdc", "table": "couriers", "key": "id", "version": "at"}


def test_a_source_is_a_block_with_defaults(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path, "couriers_s", {**ENTRY, "source": CDC}))
    domain = catalog["couriers_s"]
    assert domain.contract.columns and catalog.with_source == [domain]
    assert domain.command == "couriers_s"
    assert isinstance(domain.source, PostgresCdc) and domain.source.tombstones is None
    assert load_catalog(write(tmp_path, "couriers_t", ENTRY)).with_source == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "oracle"}, r"domain `couriers_u`, key `source`: .*'postgres_cdc'"),
        (
            {"tombstone": "x"},
            "key `source`: `tombstone` is unknown.*Legal keys are command, table, key.*interval_seconds",
        ),
        ({"table": "couriers; drop table x"}, r"key `source\.table`"),
        ({"interval_seconds": 0}, r"key `source\.interval_seconds`"),
        ({"command": "provision"}, "`provision` is another command.*set `source.command`"),
    ],
)
def test_a_source_that_is_written_wrongly_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = write(tmp_path, "couriers_u", {**ENTRY, "source": {**CDC, **change}})
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_catalog(path)
    assert f"`{path}`" in caught.value.message


SNAPSHOT = {"kind": "postgres_snapshot", "table": "couriers", "key": "id", "stamp": "at"}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({**CDC, "key": "at"}, "`source.key` is `at`, which must be a required property of type integer"),
        ({**CDC, "version": "updated_at"}, "`source.version` is `updated_at`, which must be a required"),
        ({**CDC, "tombstones": "gone"}, "`source.deleted_at` is `deleted_at`, which must be an optional"),
        ({**CDC, "columns": {"nobody": "1"}}, "`source.columns.nobody` is `nobody`, which must be a property in"),
        (SNAPSHOT, "`source.deleted_at` is"),
        ({**SNAPSHOT, "stamp": "id"}, "`source.stamp` is `id`, which must be a required property of type timestamp"),
        ({**CDC, "kind": "postgres_increment", "stamp": "then"}, "`source.stamp` is `then`"),
    ],
)
def test_a_source_that_does_not_fit_its_contract_is_refused(
    tmp_path: Path, source: dict[str, object], says: str
) -> None:
    path = write(tmp_path, "couriers_v", {**ENTRY, "source": source})
    with pytest.raises(ConfigurationError, match=says) as caught:
        _ = load_catalog(path)["couriers_v"].contract
    assert "contract.json" in caught.value.message


def test_two_sources_have_two_commands(tmp_path: Path) -> None:
    path = write(tmp_path, "couriers_w", ENTRY)
    write(tmp_path, "couriers_x", ENTRY)
    entries = {
        n: {
            **ENTRY,
            "source": {**CDC, "command": "couriers"},
            "plugin": f"plugin_{n}_{tmp_path.name}",
            "gold": {"tables": {n: ["day"]}},
        }
        for n in ("couriers_w", "couriers_x")
    }
    path.write_text(yaml.safe_dump({"domains": entries}))
    with pytest.raises(ConfigurationError, match=r"`source.command` `couriers` is used by domains"):
        load_catalog(path)


def test_a_transform_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "couriers_e", ENTRY)
    (tmp_path / f"plugin_couriers_e_{tmp_path.name}" / "transform.py").write_text("class Transform:\n    pass\n")
    domain = load_catalog(path)["couriers_e"]
    with pytest.raises(ConfigurationError, match=r"needs a class `Transform\(BaseDomainTransform\)`"):
        load_transform(domain)
    with pytest.raises(ConfigurationError, match="the file is missing"):
        load_aggregation(domain)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"additionalProperties": True}, "can never evolve"),
        ({"required": ["id", "at", "nothing"]}, "`required` names"),
        ({"properties": {"id": {"type": "integer"}, "at": {"type": "tuple"}}}, "property `at` has type"),
        ({"properties": {"_id": {"type": "integer"}}, "required": []}, "begins with an underscore"),
        ({"properties": {"id": {"type": "string", "x-type": "money"}}, "required": []}, "legal is `decimal"),
        ({"properties": {"id": {"type": "string", "x-type": "decimal(0,0)"}}, "required": []}, "legal is `decimal"),
        ({"properties": {"id": {"type": "string", "x-type": 12}}, "required": []}, "legal is `decimal"),
        *(
            ({"properties": {**CONTRACT["properties"], name: {"type": "string"}}}, says)  # type: ignore[dict-item]
            for name, says in {
                "geo.lat": "is no name of a column",
                'a"b': "is no name of a column",
                "": "is no name of a column",
                "a-b": "is no name of a column",
                "ID": "the same name as `id` but for case",
                "record_hash": "the same name as a column of Silver",
                "day": "`bronze.partition_key` is `day`, which is a property",
            }.items()
        ),
        ({"required": ["id", "at", "at"]}, "`required` must be a list of names, each once"),
        ({"required": None}, "`required` must be a list"),
        ({"properties": {"id": "integer"}, "required": []}, "`properties` must map names to schemas"),
        (
            {
                "properties": {
                    "items": {"type": "array", "items": {"properties": {"n": {"type": "integer"}}, "required": ["sku"]}}
                },
                "required": [],
            },
            r"`required` of `items\[\]` names \['sku'\]",
        ),
    ],
)
def test_a_contract_that_the_platform_cannot_use_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    path = write(tmp_path, "couriers_f", ENTRY, {**CONTRACT, **change})
    with pytest.raises(ConfigurationError, match=says):
        _ = load_catalog(path)["couriers_f"].contract


def test_the_timestamp_must_be_a_required_timestamp(tmp_path: Path) -> None:
    path = write(tmp_path, "couriers_g", {**ENTRY, "bronze": {"partition_key": "day", "timestamp_col": "id"}})
    with pytest.raises(ConfigurationError, match=r"`bronze.timestamp_col` is `id`"):
        _ = load_catalog(path)["couriers_g"].contract


def test_a_domain_begins_no_earlier_than_it_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "couriers_v", ENTRY)
    own = load_catalog(path)["couriers_v"].start_date
    assert load_catalog(path, own - timedelta(days=9))["couriers_v"].start_date == own
    assert load_catalog(path, own + timedelta(days=9))["couriers_v"].start_date == own + timedelta(days=9)
