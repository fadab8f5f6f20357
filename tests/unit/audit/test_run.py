"""What an audit looks at: of a date that date alone, and of a domain without data nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from audit import run
from audit.dates import dates_of
from audit.kafka_log import AuditLog, KafkaTopic
from audit.report import AuditReport, Stage, StageResult
from audit.run import audit
from audit.stages import source_to_silver
from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import Settings
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake

OF_THE_LAKE = {Stage.SILVER, Stage.GOLD}


@pytest.fixture
def made(tmp_path: Path) -> AuditLake:
    return AuditLake(Settings(lake_uri=str(tmp_path / "lake"))).make(days=3, orders=5)


class History:
    """Notes each question whose cost grows with the dates that a domain has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for owner, name in ((Lake, "list_dates"), (DeltaPartitionMeta, "rows"), (DeltaTable, "partitions")):
            monkeypatch.setattr(owner, name, lambda *_, name=name, **__: self.asked.append(name) or [])


def test_the_audit_of_a_date_asks_no_layer_for_its_history(
    made: AuditLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    day = FIRST_DAY + timedelta(days=1)
    for other in (FIRST_DAY, FIRST_DAY + timedelta(days=2)):  # a reader of these would end with an error
        for file in Path(made.lake.root).rglob(f"order_date={other}/*.parquet"):
            file.write_bytes(b"not for the reader of another date")
    history = History(monkeypatch)
    report = audit(
        made.settings, made.catalog, made.lake, domains=["orders"], dates=DateRange(day, day), stages=OF_THE_LAKE
    )
    assert report.clean and {result.day for result in report.results} == {day}
    assert history.asked == []


@pytest.mark.parametrize("layer", ["silver", "gold", "partition_meta"])
def test_a_date_that_one_layer_alone_knows_is_looked_at(made: AuditLake, layer: str) -> None:
    lone = FIRST_DAY + timedelta(days=9)
    made.history(lone, 4)
    if layer == "silver":
        made.write_silver(lone)
    elif layer == "gold":
        made.write_gold(lone, "orders")
    else:
        made.done(lone, ["gone.parquet"])
    within = DateRange(FIRST_DAY + timedelta(days=2), lone + timedelta(days=1))
    of_range = dates_of(made.lake, made.domain, made.meta, within=within)
    assert of_range == [FIRST_DAY + timedelta(days=2), lone]
    assert [day for day in dates_of(made.lake, made.domain, made.meta) if day in within] == of_range
    assert dates_of(made.lake, made.domain, made.meta, within=DateRange(within.first, None)) == of_range


def test_a_date_before_the_first_one_is_the_sources_business_only_when_a_layer_knows_it(made: AuditLake) -> None:
    before, after = date(2026, 11, 1), FIRST_DAY + timedelta(days=5)

    def compared(day: date) -> bool:
        checks = run._Checks(made.settings, made.lake, DateRange(day, day), None, print)  # type: ignore[arg-type]
        return day in checks._dates_of_source(made.domain, after + timedelta(days=1))

    assert not compared(before) and compared(FIRST_DAY) and compared(after)


def test_the_dates_of_a_source_are_asked_for_once(made: AuditLake, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(monkeypatch)
    settings = made.settings.model_copy(update={"state_in_lake": True})
    checks = run._Checks(settings, made.lake, DateRange(), None, print)  # type: ignore[arg-type]
    monkeypatch.setattr(source_to_silver, "compare", lambda _, domain, *__: StageResult(Stage.SOURCE, domain.name))
    assert len(list(checks._of_source(made.domain))) == 1
    assert history.asked.count("list_dates") == history.asked.count("rows") == 1


class Topic(AuditLog):
    """Answers for a topic that has never had a record, unless it is told otherwise."""

    end = 0
    is_away = False

    def topic(self, name: str) -> KafkaTopic | None:
        if self.is_away:
            raise TransientError("Kafka does not answer.")
        return KafkaTopic("one", {0: (self.end, self.end)})


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> type[Topic]:
    class Answers(Topic):
        pass

    monkeypatch.setattr(run, "AuditLog", Answers)
    return Answers


@pytest.fixture
def of_nothing(catalog: Catalog, tmp_path: Path) -> Callable[..., AuditReport]:
    settings = Settings(lake_uri=str(tmp_path))
    return lambda **more: audit(settings, catalog, Lake(settings), domains=["orders"], stages=OF_THE_LAKE, **more)


def test_of_a_domain_to_which_no_record_has_come_nothing_is_left_to_prove(
    topic: type[Topic], of_nothing: Callable[..., AuditReport]
) -> None:
    report = of_nothing()
    assert report.clean and [str(each) for result in report.results for each in result.equations] == ["dates 0 = 0"] * 2


def test_a_domain_without_dates_whose_topic_had_records_or_does_not_answer_is_not_checked(
    topic: type[Topic], of_nothing: Callable[..., AuditReport]
) -> None:
    assert not of_nothing(dates=DateRange(FIRST_DAY, FIRST_DAY)).clean, "only the whole history is empty"
    topic.end = 4  # retention has dropped them, and the lake does not have them
    assert {"Check `LAKE_URI`" in result.not_checked for result in of_nothing().results} == {True}
    topic.is_away = True
    assert {"Kafka does not answer" in result.not_checked for result in of_nothing().results} == {True}


def test_a_source_whose_rows_have_never_been_sent_is_not_complete_because_its_topic_is_empty(
    topic: type[Topic], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(_: str, __: str, day: date | None) -> list[list[tuple[str, ...]]]:
        columns = source_to_silver._compared_columns(catalog["orders"])
        values = {"order_id": "1", "total": "1.00", "updated_at": "2026-11-20 10:00:00+00"}
        # Of a shop that closed: a date that no layer knows is asked for by nobody.
        return [] if day else [[tuple(values.get(name) for name in columns)]]  # type: ignore[misc]

    monkeypatch.setattr(source_to_silver, "read_rows", rows)
    settings = Settings(lake_uri=str(tmp_path / "lake"), state_dir=tmp_path / "state", state_in_lake=False)
    [result] = audit(settings, catalog, Lake(settings), domains=["orders"], stages={Stage.SOURCE}).results
    assert result.not_checked and "1 rows are not in Silver" in result.not_checked


def test_a_date_whose_compaction_note_cannot_be_read_is_not_checked_and_the_others_are(made: AuditLake) -> None:
    later = FIRST_DAY + timedelta(days=1)
    folder = Path(made.lake.path(made.lake.bronze_partition(made.domain, FIRST_DAY)))
    (folder / made.lake.compaction_note).write_text("{")
    of_two = audit(
        made.settings,
        made.catalog,
        made.lake,
        domains=["orders"],
        dates=DateRange(FIRST_DAY, later),
        stages=OF_THE_LAKE,
    )
    assert not of_two.problems
    [unclear] = of_two.not_checked
    assert (unclear.stage, unclear.day) == (Stage.SILVER, FIRST_DAY)
    assert made.lake.compaction_note in unclear.not_checked and "remove it" in unclear.not_checked
    silver = {result.day: result for result in of_two.results if result.stage is Stage.SILVER and result.day}
    assert silver[later].equations and silver[later].ok
