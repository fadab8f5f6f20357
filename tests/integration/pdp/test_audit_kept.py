"""What `pdp audit` leaves for the metrics."""

from __future__ import annotations

import pytest

from audit import last_audit
from audit.report import AuditReport, Stage, StageResult
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from tests.integration.pdp.conftest import Run


def test_a_whole_audit_is_kept_a_narrowed_one_is_not_and_a_full_disk_is_a_warning(
    lake: Lake, pdp: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.run.audit", lambda *_, **__: AuditReport((StageResult(Stage.SILVER, "orders"),)))
    for narrowed in (("--stage", "silver"), ("--domain", "orders"), ("--date", "2026-11-20"), ("--from", "2026-11-20")):
        assert pdp("audit", *narrowed).exit_code == 0
        assert last_audit.load(lake) is None
    assert pdp("audit").exit_code == 0
    kept = last_audit.load(lake)
    assert kept is not None
    assert [(each.domain, each.stage, each.problems, each.checked) for each in kept.stages] == [
        ("orders", Stage.SILVER, 0, True)
    ]

    def full(*_: object, **__: object) -> None:
        raise TransientError("The disk is full.")

    monkeypatch.setattr(last_audit, "save", full)
    done = pdp("audit")
    assert (done.exit_code, "The disk is full." in done.stderr) == (0, True)
