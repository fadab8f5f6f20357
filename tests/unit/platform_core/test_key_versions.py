"""Which date has a row of a global key: decided alike in any order of processing, and after a kill at any point."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from platform_core.domain.bronze_schema import TIMESTAMP
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.key_versions import REFUSED, KeyVersions, version_columns
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

DAYS = [date(2026, 11, 20) + timedelta(days=n) for n in range(4)]
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SCHEMA = pa.schema(
    [("order_id", pa.int64()), ("updated_at", TIMESTAMP), ("_partition", pa.int32()), ("_offset", pa.int64())]
).append(pa.field(REFUSED, pa.bool_()))

Version = tuple[int, datetime | None, int, int, bool]


def table(*versions: Version) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, version, strict=True)) for version in versions], schema=SCHEMA)


@pytest.fixture
def domain(catalog: Catalog) -> Domain:
    orders = catalog["orders"]
    return orders.model_copy(update={"silver": orders.silver.model_copy(update={"global_key": True})})


@pytest.fixture
def stored(tmp_path: Path, domain: Domain) -> KeyVersions:
    return KeyVersions(Lake(Settings(lake_uri=str(tmp_path))), domain)


@dataclass
class Dates:
    """Processes dates as a run does: Silver first, then the dates that change, then the versions."""

    stored: KeyVersions
    silver: dict[date, set[int]] = field(default_factory=dict)
    late: set[date] = field(default_factory=set)

    def process(self, day: date, versions: list[Version], *, killed_after: str = "") -> None:
        moves = self.stored.compare(day, table(*versions))
        outdated = set(moves.outdated.column(0).to_pylist())
        self.silver[day] = {version[0] for version in versions if not version[4]} - outdated
        if killed_after == "silver":
            return
        self.late |= set(moves.dates) & set(self.silver)
        if killed_after == "marks":
            return
        self.stored.replace(day, moves.versions)


def winners(content: dict[date, list[Version]]) -> dict[date, set[int]]:
    """The date of each key's latest version, by the order that the documents promise, in plain Python."""
    latest: dict[int, tuple[Any, date, bool]] = {}
    for day, versions in content.items():
        for key, at, partition, offset, refused in versions:
            rank = (at is not None, at or NOON, offset, partition, day)
            if key not in latest or latest[key][0] < rank:
                latest[key] = (rank, day, refused)
    return {day: {key for key, (_, of, refused) in latest.items() if of == day and not refused} for day in content}


@pytest.mark.parametrize("seed", range(3))
def test_every_key_ends_on_the_date_of_its_latest_version_whatever_happens_in_between(
    stored: KeyVersions, seed: int
) -> None:
    chance = random.Random(seed)
    dates, content = Dates(stored), dict[date, list[Version]]()
    for _ in range(8):
        day = chance.choice(DAYS)  # files came, were corrected, or their loss was accepted
        keys = chance.sample(range(8), k=chance.randrange(0, 6))
        content[day] = [
            (
                key,
                chance.choice([None, NOON, NOON, NOON + timedelta(microseconds=chance.randrange(3))]),
                chance.randrange(2),
                chance.randrange(4),
                chance.random() < 0.2,
            )
            for key in keys
        ]
        waiting = [day]
        while waiting:
            each = chance.choice(waiting)  # one that was killed may have to wait for others
            killed_after = chance.choice(["", "", "silver", "marks"])
            dates.process(each, content[each], killed_after=killed_after)
            done = set() if killed_after else {each}
            waiting = sorted(({*waiting} - done) | dates.late)
            dates.late.clear()
        assert dates.silver == winners(content)


def test_corrections_end_and_a_settled_date_changes_no_other(stored: KeyVersions) -> None:
    content = {
        DAYS[0]: [(1, NOON, 0, 5, False), (2, NOON, 0, 6, False)],
        DAYS[1]: [(1, NOON + timedelta(hours=1), 0, 7, False)],
    }
    for day, versions in content.items():
        stored.replace(day, table(*versions))
    first, second = (stored.compare(day, table(*versions)) for day, versions in content.items())
    assert first.outdated.to_pylist() == [{"order_id": 1}] and not first.dates
    assert not second.outdated.num_rows and not second.dates, "processing it again corrects nobody"


def test_a_refused_latest_version_outdates_the_others_and_has_no_row_to_lose(stored: KeyVersions) -> None:
    refused = (1, NOON + timedelta(hours=1), 0, 9, True)
    stored.replace(DAYS[0], table((1, NOON, 0, 5, False)))
    moves = stored.compare(DAYS[1], table(refused))
    assert (moves.outdated.num_rows, dict(moves.dates)) == (0, {DAYS[0]: 1})
    stored.replace(DAYS[1], moves.versions)
    assert stored.compare(DAYS[0], table((1, NOON, 0, 5, False))).outdated.num_rows == 1
    later = stored.compare(DAYS[2], table((1, NOON + timedelta(hours=2), 0, 10, False)))
    assert not later.dates


def test_keys_of_two_columns_and_an_order_that_came_later_are_compared(tmp_path: Path, domain: Domain) -> None:
    silver = {"primary_key": ("city", "order_id"), "order_by": ()}
    before = domain.model_copy(update={"silver": domain.silver.model_copy(update=silver)})
    lake = Lake(Settings(lake_uri=str(tmp_path)))

    def rows(stored: KeyVersions, **values: Any) -> pa.Table:
        row = {"city": "Oslo", "order_id": 1, "_partition": 0, REFUSED: False, **values}
        return pa.Table.from_pylist([row]).select([*version_columns(stored._domain), REFUSED])

    stored = KeyVersions(lake, before)
    stored.replace(DAYS[0], rows(stored, _offset=3))
    assert stored.compare(DAYS[1], rows(stored, _offset=2)).outdated.to_pylist() == [{"city": "Oslo", "order_id": 1}]
    assert not stored.compare(DAYS[1], rows(stored, _offset=2, city="Rome")).outdated.num_rows

    ordered = {"silver": before.silver.model_copy(update={"order_by": ("updated_at",)})}
    stored = KeyVersions(lake, before.model_copy(update=ordered))
    stored.replace(DAYS[1], rows(stored, _offset=2, updated_at=NOON))
    assert dict(stored.compare(DAYS[1], rows(stored, _offset=2, updated_at=NOON)).dates) == {}
    assert stored.compare(DAYS[0], rows(stored, _offset=3, updated_at=NOON - timedelta(1))).outdated.num_rows == 1


def test_the_name_of_the_date_column_may_be_a_word_of_sql(tmp_path: Path, domain: Domain) -> None:
    bronze = domain.bronze.model_copy(update={"partition_key": "current_date"})
    stored = KeyVersions(Lake(Settings(lake_uri=str(tmp_path))), domain.model_copy(update={"bronze": bronze}))
    for offset in (2, 3):
        stored.replace(DAYS[0], table((1, NOON, 0, offset, False)))
    assert stored.compare(DAYS[1], table((1, NOON, 0, 2, False))).outdated.num_rows == 1
