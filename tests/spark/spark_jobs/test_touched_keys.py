"""A date corrected by the keys of its new files has every value that it has when it is processed as a whole.

The days of `bronze_days` are dealt at random into a base and two late parts, so that keys are new, older or later
versions, copies, bad, withheld, NULL or tied; what comes of them is compared with a lake that got all at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql.connect.client import SparkConnectClient

from platform_core.domain.catalog import Catalog, Domain, OnFailure, Rule
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State
from platform_core.settings import Settings
from processing.claim import Claimed
from processing.last_done import LastDone
from processing.touched_keys import AsAWhole, ByTouchedKeys, by_touched_keys
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.bronze_to_silver import SilverResult
from spark_jobs.correction import touched_keys
from spark_jobs.writing import few_row_changes
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Record, event, order
from tests.rigs.lake.delta_rows import rows, tables_of, version
from tests.spark.conftest import Engine

WARNS = {
    "events": Rule(name="has_a_city", expression="city is not null and city <> ''", on_failure=OnFailure.WARN),
    "orders": Rule(name="costs_little", expression="subtotal < 100", on_failure=OnFailure.WARN),
}
"""Beside the domain's own rules, none of which warns."""


class Corrected:
    """A lake whose date is corrected, and one beside it whose date is made of the same files as a whole."""

    def __init__(self, engine: Engine, domain: Domain, folder: Path) -> None:
        self.engine = engine
        self.domain = domain
        self.lake = Lake(Settings(lake_uri=str(folder / "corrected")))
        self.whole = Lake(Settings(lake_uri=str(folder / "whole")))
        self.files: list[str] = []
        self.silver: SilverResult | None = None

    def base(self, records: Sequence[Record], files: int = 3) -> None:
        self.files = self._write(records, files)
        self.silver = bronze_to_silver.run(self.engine.spark, self.lake, self.domain, DAY, self.files)

    def late(
        self, records: Sequence[Record], may_write: Callable[[], object] = lambda: None, **counts: Any
    ) -> ByTouchedKeys | AsAWhole:
        """Correct the date by a new file; `counts` overwrite what the last success says of itself."""
        new = self._write(records, 1)
        assert self.silver is not None
        before = {name: value for name, value in asdict(self.silver).items() if name not in ("published", "seconds")}
        last = LastDone(tuple(self.files), tuple(new), before | counts)
        self.files += new
        claim = Claimed(DAY, tuple(self.files), "", State.REPROCESSING, None, last)
        outcome = by_touched_keys(self.engine.spark, self.lake, self.domain, claim, may_write)
        if isinstance(outcome, ByTouchedKeys):
            self.silver = outcome.silver
        return outcome

    def process_as_a_whole(self) -> None:
        self.silver = bronze_to_silver.run(self.engine.spark, self.lake, self.domain, DAY, self.files)

    def expect_equal(self) -> None:
        """Make the date as a whole in the other lake, and Gold in both; every row and every count must be equal."""
        whole = bronze_to_silver.run(self.engine.spark, self.whole, self.domain, DAY, self.files)
        assert self.silver is not None
        assert replace(self.silver, seconds=0.0) == replace(whole, seconds=0.0)
        if whole.published:
            for lake in (self.lake, self.whole):
                silver_to_gold.run(self.engine.spark, lake, self.domain, DAY)
        for table in tables_of(self.whole, self.domain) if whole.published else [self.whole.quarantine(self.domain)]:
            assert rows(self.lake, table) == rows(self.whole, table), table

    def versions(self) -> list[int]:
        return [version(self.lake, name) for name in (self.lake.silver(self.domain), self.lake.quarantine(self.domain))]

    def _write(self, records: Sequence[Record], files: int) -> list[str]:
        seed = len(self.files)
        names = bronze_days.write(self.lake, self.domain, DAY, records, files=files, seed=seed)
        bronze_days.write(self.whole, self.domain, DAY, records, files=files, seed=seed)
        return names


@pytest.fixture(autouse=True)
def any_share_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched_keys, "MOST_NEW_SHARE", 100.0)


def declared(catalog: Catalog, name: str, *rules: Rule, **quality: Any) -> Domain:
    domain = catalog[name]
    rules = (*domain.quality.rules, *rules)
    return domain.model_copy(update={"quality": domain.quality.model_copy(update={"rules": rules, **quality})})


@pytest.fixture
def sail(engines: dict[str, Engine]) -> Engine:
    return engines["sail"]


def dealt(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record], list[Record]]:
    """Deal the records of a day to a base, which gets most, and two late parts."""
    chance = random.Random(seed)
    parts: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    for record in records:
        parts[chance.choices((0, 1, 2), (6, 2, 2))[0]].append(record)
    return parts


@pytest.mark.parametrize(
    ("engine_name", "name", "seed"),
    [
        *[("sail", name, seed) for name in ("events", "orders") for seed in range(3)],
        ("sail", "restaurants", 0),
        ("sail", "users", 0),
        ("spark", "orders", 1),
    ],
)
def test_two_late_parts_give_what_the_whole_date_gives(
    engines: dict[str, Engine], catalog: Catalog, tmp_path: Path, engine_name: str, name: str, seed: int
) -> None:
    domain = declared(catalog, name, *([WARNS[name]] if name in WARNS else []))
    rig = Corrected(engines[engine_name], domain, tmp_path)
    base, *late = dealt(bronze_days.RECORDS[name](), seed)
    rig.base(base)
    for records in late:
        assert isinstance(outcome := rig.late(records), ByTouchedKeys), str(outcome)
    rig.expect_equal()


def test_a_late_file_that_changes_nothing_of_silver_commits_nothing(
    sail: Engine, catalog: Catalog, tmp_path: Path
) -> None:
    rig = Corrected(sail, declared(catalog, "orders"), tmp_path)
    first = Record(order(1, "delivered", "10.00", updated=5), 0, 7)
    rig.base([first, Record(order(2, "placed", "1.00"), 0, 8)])
    before = rig.versions()
    older = Record(order(1, "placed", "10.00", updated=3), 0, 9)
    assert isinstance(rig.late([older, replace(first, ingested_at=bronze_days.at(40))]), ByTouchedKeys)
    assert rig.versions() == before
    rig.expect_equal()


def test_of_new_keys_whose_rows_are_good_the_engine_is_asked_twice(
    sail: Engine, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Corrected(sail, declared(catalog, "events"), tmp_path)
    rig.base([Record(event("a", "search", 1), 0, 7), Record(event("b", "page_view", 1), 0, 8)])
    asked, ask = [], SparkConnectClient._execute_and_fetch_as_iterator

    def noted(*arguments: Any, **named: Any) -> Iterator[Any]:
        asked.append(arguments)
        return ask(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SparkConnectClient, "_execute_and_fetch_as_iterator", noted)
        assert isinstance(rig.late([Record(event("c", "search", 2), 0, 9)]), ByTouchedKeys)
    assert len(asked) == 2, "the survey and the rows; of the quarantine nothing is asked"
    rig.expect_equal()


def test_a_copy_that_was_stored_first_becomes_the_row(sail: Engine, catalog: Catalog, tmp_path: Path) -> None:
    rig = Corrected(sail, declared(catalog, "events"), tmp_path)
    good, bad = Record(event("a", "search", 1), 0, 7), Record(event("b", "page_view", 1), 0, 8)
    rig.base([good, bad])
    earlier = [replace(record, ingested_at=bronze_days.at(1)) for record in (good, bad)]
    assert isinstance(rig.late(earlier), ByTouchedKeys)
    rig.expect_equal()


def test_a_date_that_would_not_be_published_is_judged_as_a_whole(
    sail: Engine, catalog: Catalog, tmp_path: Path
) -> None:
    rig = Corrected(sail, declared(catalog, "events", max_quarantined_ratio=0.4), tmp_path)
    rig.base([Record(event(f"a{n}", "search", 1), 0, n) for n in range(3)])
    before = rig.versions()
    outcome = rig.late([Record(event(f"b{n}", "page_view", 1), 0, 10 + n) for n in range(3)])
    assert str(outcome).startswith("processed as a whole: the date would not be published: 50.00%")
    assert rig.versions() == before, "nothing was written"
    rig.process_as_a_whole()
    assert rig.silver is not None
    assert not rig.silver.published
    rig.expect_equal()


def test_a_rule_that_cannot_be_evaluated_for_a_late_row_is_asked_of_the_whole_date(
    sail: Engine, catalog: Catalog, tmp_path: Path
) -> None:
    rule = Rule(name="a_share", expression="100 / restaurant_id < 1000 and cast(city as int) > 0")
    rig = Corrected(sail, declared(catalog, "events", rule), tmp_path)
    rig.base([Record(event("a", "search", 1, restaurant_id=3, city="7"), 0, 1)])
    outcome = rig.late([Record(event("b", "search", 1, restaurant_id=3, city="seven"), 0, 2)])
    assert str(outcome) == "processed as a whole: an expression cannot be evaluated for a row"
    rig.process_as_a_whole()
    rig.expect_equal()


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"made_by": "another"}, "its rows were made by another transform, other rules, or another version"),
        ({"bronze_rows": 5}, "its files have 3 rows, and not 5 and 1 new ones"),
        ({"silver_rows": 1}, "has 2 rows of the date and not 1"),
        ({"quarantined": {"known_event_type": 1}}, "has 0 rows of the date and not 1"),
        ({"key_duplicates": 1}, "the audit of the corrected date does not agree: older_version 0, not 1"),
        ({"unheard_of": 1}, "another version of the platform has counted its rows"),
    ],
)
def test_what_does_not_add_up_has_the_date_processed_as_a_whole(
    sail: Engine, catalog: Catalog, tmp_path: Path, counts: dict[str, Any], reason: str
) -> None:
    rig = Corrected(sail, declared(catalog, "events"), tmp_path)
    rig.base([Record(event(name, "search", 1), 0, n) for n, name in enumerate("ab")])
    outcome = rig.late([Record(event("c", "search", 1), 0, 9)], **counts)
    assert isinstance(outcome, AsAWhole)
    assert reason in outcome.reason


def test_many_new_rows_have_the_date_processed_as_a_whole(
    sail: Engine, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touched_keys, "MOST_NEW_SHARE", 0.1)
    rig = Corrected(sail, declared(catalog, "events"), tmp_path)
    rig.base([Record(event(f"a{n}", "search", 1), 0, n) for n in range(10)])
    outcome = rig.late([Record(event(name, "search", 1), 0, 20 + n) for n, name in enumerate("bc")])
    assert str(outcome) == "processed as a whole: 2 new rows are many beside 10"


class KilledError(BaseException):
    """The process ends here; nothing after it is done."""


@pytest.mark.parametrize("writes", [0, 1])
def test_killed_before_a_write_the_whole_date_mends_it(
    sail: Engine, catalog: Catalog, tmp_path: Path, writes: int
) -> None:
    rig = Corrected(sail, declared(catalog, "orders"), tmp_path)
    rig.base([Record(order(n, "placed", "5.00", updated=1), 0, n) for n in range(1, 5)])
    before, asked = rig.versions(), []

    def may_write() -> None:
        if len(asked) == writes:
            raise KilledError
        asked.append(1)

    late = [
        Record(order(1, "delivered", "5.00", updated=2), 0, 10),
        Record({**order(2, "placed", "5.00", updated=2), "total": None}, 0, 11),
        Record(order(9, "placed", "5.00"), 0, 12),
    ]
    with pytest.raises(KilledError):
        rig.late(late, may_write)
    silver, quarantine = (now - was for now, was in zip(rig.versions(), before, strict=True))
    assert (silver, quarantine) == (0, writes)
    rig.process_as_a_whole()
    rig.expect_equal()


def test_killed_after_the_writes_the_whole_date_is_what_it_was(
    sail: Engine, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Corrected(sail, declared(catalog, "orders"), tmp_path)
    rig.base([Record(order(n, "placed", "5.00", updated=1), 0, n) for n in range(1, 5)])
    late = [Record(order(n, "delivered", "5.00", updated=2), 0, 10 + n) for n in (1, 9)]

    def killed(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("processing.touched_keys.compare_with", killed)
        with pytest.raises(KilledError):
            rig.late(late)
    rig.process_as_a_whole()
    rig.expect_equal()


def forgets_earlier_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = touched_keys.earlier_rows
    monkeypatch.setattr(touched_keys, "earlier_rows", lambda *given: found(*given).slice(0, 0))


def never_takes_a_row_away(monkeypatch: pytest.MonkeyPatch) -> None:
    merge = few_row_changes.merge_into_many

    def merged(changes: few_row_changes.RowChanges, *rest: Any) -> None:
        merge(replace(changes, gone=changes.gone.slice(0, 0)), *rest)

    monkeypatch.setattr(touched_keys, "merge_into_many", merged)


def never_replaces_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    merge = few_row_changes.merge_into_many

    def merged(changes: few_row_changes.RowChanges, *rest: Any) -> None:
        merge(replace(changes, replaced=changes.replaced.slice(0, 0)), *rest)

    monkeypatch.setattr(touched_keys, "merge_into_many", merged)


def forgets_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    combined = touched_keys._combined

    def without_copies(before: SilverResult, *rest: SilverResult) -> SilverResult:
        return replace(combined(before, *rest), offset_duplicates=before.offset_duplicates)

    monkeypatch.setattr(touched_keys, "_combined", without_copies)


@pytest.mark.parametrize("mutant", [forgets_earlier_rows, never_takes_a_row_away, never_replaces_a_row, forgets_copies])
def test_a_correction_that_is_wrong_is_caught_before_gold(
    sail: Engine,
    catalog: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    rig = Corrected(sail, declared(catalog, "orders"), tmp_path)
    first = [Record(order(n, "placed", "5.00", updated=1), 0, n) for n in range(1, 5)]
    rig.base(first)
    late = [
        Record(order(1, "delivered", "5.00", updated=2), 0, 10),
        Record({**order(2, "placed", "5.00", updated=2), "total": None}, 0, 11),  # withholds its key
        replace(first[2], ingested_at=bronze_days.at(40)),
    ]
    mutant(monkeypatch)
    outcome = rig.late(late)
    assert isinstance(outcome, AsAWhole), str(outcome)
