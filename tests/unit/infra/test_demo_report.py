"""The demo's table, made of what the audit says."""

from __future__ import annotations

from datetime import date

from audit.report import AuditReport, Equation, Kind, Problem, Reason, Stage, StageResult
from infra.embedded.commands.demo_report import COLUMNS, domain_rows

DAYS = (date(2026, 11, 20), date(2026, 11, 21))


def of_a_date(day: date) -> list[StageResult]:
    silver = {
        "silver": 4,
        Reason.OLDER_VERSION: 2,
        Reason.DELIVERED_AGAIN: 1,
        Reason.QUARANTINED: 1,
        Kind.MISSING_IN_SILVER: 0,
    }
    return [
        StageResult(Stage.SILVER, "orders", day, (Equation("bronze rows", 8, silver),)),
        StageResult(
            Stage.WAREHOUSE,
            "orders",
            day,
            (Equation("gold rows", 3, {"warehouse": 3}), Equation("warehouse rows", 3, {"gold": 3})),
        ),
    ]


def audit(*problems: Problem) -> AuditReport:
    kafka = Equation("kafka offsets", 15, {"bronze": 14, Reason.DEAD_LETTER: 1})
    bronze = Equation("bronze rows", 16, {"offsets in kafka": 14, Reason.DELIVERED_AGAIN: 2})
    whole = StageResult(Stage.BRONZE, "orders", None, (kafka, bronze), problems=problems)
    return AuditReport((whole, *(result for day in DAYS for result in of_a_date(day))))


def test_a_row_sums_up_the_dates_of_a_domain() -> None:
    assert domain_rows(audit(), {"orders": 15}) == {
        "orders": {
            "produced": 15,
            "kafka": 15,
            "dead_letters": 1,
            "bronze_rows": 16,
            "bronze_offsets": 14,
            "silver_rows": 8,
            "duplicates": 6,
            "quarantined": 2,
            "gold_rows": 6,
            "warehouse_rows": 6,
            "lost": 0,
        }
    }
    assert {key for key, _ in COLUMNS} <= domain_rows(audit(), {})["orders"].keys()


def test_what_nothing_explains_and_what_never_reached_kafka_is_lost() -> None:
    lost = Problem(Stage.BRONZE, "orders", None, Kind.LOST, 2)
    assert domain_rows(audit(lost), {"orders": 18})["orders"]["lost"] == 2 + 3


def test_a_stage_that_was_not_checked_has_no_rows() -> None:
    report = AuditReport((StageResult(Stage.BRONZE, "orders", not_checked="Kafka does not answer"),))
    assert set(domain_rows(report, {}).popitem()[1].values()) == {0}
