"""What the audit of every day looks at, and what it leaves for the next one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit import last_audit, what_changed
from audit.report import AuditReport, Kind, Problem, Stage, StageResult
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
DAY = date(2026, 11, 20)
OLD_DAY = date(2026, 1, 5)


class Rows:
    """partition_meta as a list."""

    def __init__(self) -> None:
        self.of: list[Partition] = []

    def rows(self, domain: str | None = None) -> list[Partition]:
        return [row for row in self.of if domain in (None, row.domain)]

    def touch(self, domain: str, day: date, at: datetime) -> None:
        self.of.append(Partition(domain, day, State.DONE, created_at=at, updated_at=at))


class Audits:
    """Runs the audit of a day with its comparisons replaced: what was asked, and what they answer."""

    def __init__(self, catalog: Catalog, lake: Lake) -> None:
        self.catalog, self.lake, self.clock, self.rows = catalog, lake, FakeClock(NOW), Rows()
        self.asked: dict[str, list[tuple[DateRange | None, set[str]]]] = {}
        self.answers: dict[tuple[str, Stage], StageResult] = {}

    def compare(
        self,
        _settings: Settings,
        catalog: Catalog,
        _lake: Lake,
        *,
        domains: Sequence[str] | None = None,
        dates: DateRange | None = None,
        stages: Collection[Stage] | None = None,
        progress: Any = None,
    ) -> AuditReport:
        chosen = set(stages or Stage)
        for name in domains or ["all"]:
            self.asked.setdefault(name, []).append((dates, {stage.value for stage in chosen}))
        names = domains or list(catalog.names)
        answers = [self.answers.get((n, s)) or StageResult(s, n) for n in names for s in Stage if s in chosen]
        return AuditReport(tuple(answers))

    def run(self) -> dict[str, list[tuple[DateRange | None, set[str]]]]:
        self.asked = {}
        partitions: Any = self.rows
        what_changed.audit_what_changed(Settings(), self.catalog, self.lake, partitions, clock=self.clock)
        return self.asked

    @property
    def kept(self) -> last_audit.LastAudit:
        kept = last_audit.load(self.lake)
        assert kept is not None
        return kept


EVERY = {stage.value for stage in Stage}
WHOLE = [(None, EVERY)]
OF_DATES = EVERY - {"bronze"}
SNAPSHOT = (None, {"source"})


@pytest.fixture
def audits(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audits:
    audits = Audits(catalog, Lake(Settings(lake_uri=str(tmp_path))))
    monkeypatch.setattr(what_changed, "audit", audits.compare)
    return audits


def test_the_first_audit_is_whole_and_the_next_looks_at_what_a_run_has_touched_since(audits: Audits) -> None:
    audits.rows.touch("orders", OLD_DAY, NOW - timedelta(days=40))
    assert audits.run() == {"all": WHOLE}
    audits.clock.advance(days=1)
    audits.rows.touch("orders", DAY, NOW + timedelta(hours=2))
    assert audits.run() == {"orders": [(DateRange(DAY, DAY), OF_DATES)], "users": [SNAPSHOT]}
    assert (audits.kept.at, audits.kept.whole_at) == (NOW + timedelta(days=1), NOW)
    # What was not looked at again is as it was.
    assert len(audits.kept.stages) == len(audits.catalog) * len(Stage)


def test_a_correction_of_an_old_date_is_audited_and_so_is_what_changed_while_an_audit_ran(audits: Audits) -> None:
    audits.run()
    audits.rows.touch("orders", OLD_DAY, NOW - timedelta(minutes=1))  # of a host whose clock is behind
    for day in (DAY, DAY - timedelta(days=1)):
        audits.rows.touch("orders", day, NOW)
    audits.clock.advance(days=1)
    ranges = (DateRange(OLD_DAY, OLD_DAY), DateRange(DAY - timedelta(days=1), DAY))
    assert audits.run()["orders"] == [(dates, OF_DATES) for dates in ranges], "and no date between"


def test_a_domain_that_was_not_clean_is_audited_wholly_until_it_is(audits: Audits) -> None:
    problem = Problem(Stage.GOLD, "orders", OLD_DAY, Kind.DIFFERS, 1)
    audits.answers["orders", Stage.GOLD] = StageResult(Stage.GOLD, "orders", OLD_DAY, problems=(problem,))
    audits.answers["users", Stage.BRONZE] = StageResult(Stage.BRONZE, "users", not_checked="Kafka did not answer.")
    audits.run()
    audits.answers = {}
    audits.clock.advance(days=1)
    assert audits.run() == {"orders": WHOLE, "users": WHOLE}
    audits.clock.advance(days=1)
    assert audits.run() == {"users": [SNAPSHOT]}
    assert all(each.checked and not each.problems for each in audits.kept.stages)


def test_everything_is_audited_once_a_week_and_after_an_update_from_a_version_that_kept_less(audits: Audits) -> None:
    audits.run()
    audits.clock.advance(days=6)
    assert "all" not in audits.run()
    audits.clock.advance(hours=23, minutes=58)
    assert audits.run() == {"all": WHOLE}
    audits.clock.advance(days=-30)  # the clock was wrong before
    assert audits.run() == {"all": WHOLE}
    old = audits.kept.model_dump_json(exclude={"began_at", "whole_at"})
    (Path(audits.lake.root) / Lake.last_audit).write_text(old)
    assert audits.run() == {"all": WHOLE}


def test_an_idle_day_is_an_audit_and_a_domain_that_broke_is_audited_wholly_when_it_is_mended(audits: Audits) -> None:
    whole = audits.catalog
    audits.catalog = Catalog([whole["events"], whole["orders"]], {})
    audits.run()
    audits.clock.advance(days=1)
    audits.catalog = Catalog([whole["events"]], {"orders": "`key` is missing."})
    assert audits.run() == {}
    assert audits.kept.at == NOW + timedelta(days=1)
    assert {each.domain for each in audits.kept.stages if not each.checked} == {"orders"}
    audits.clock.advance(days=1)
    audits.catalog = Catalog([whole["orders"]], {})
    assert audits.run() == {"orders": WHOLE}
    assert {each.domain for each in audits.kept.stages} == {"orders"}, "a domain that is gone has no outcome"


def test_what_a_person_audited_meanwhile_is_kept(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    audits.run()
    audits.clock.advance(days=1)
    audits.rows.touch("orders", DAY, audits.clock.now())
    lost = Problem(Stage.BRONZE, "events", DAY, Kind.LOST, 1)
    seen = AuditReport((StageResult(Stage.BRONZE, "events", problems=(lost,)),))

    def meanwhile(*args: Any, **options: Any) -> AuditReport:
        last_audit.save(audits.lake, seen, audits.clock.now(), began_at=audits.clock.now())
        return audits.compare(*args, **options)

    monkeypatch.setattr(what_changed, "audit", meanwhile)
    audits.run()
    assert [each.problems for each in audits.kept.stages if each.domain == "events"] == [1]
