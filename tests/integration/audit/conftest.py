"""Topics, the real sink's output, and the audit of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.report import AuditReport, Stage
from audit.run import audit
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from tests.rigs.sink.rig import SinkRig


@pytest.fixture
def look(sink_rig: SinkRig) -> Callable[[], AuditReport]:
    return lambda: audit(
        sink_rig.settings, load_catalog(sink_rig.domains_file), Lake(sink_rig.settings), stages={Stage.BRONZE}
    )


@pytest.fixture
def sink_rig(sink_rig: SinkRig) -> SinkRig:
    sink_rig.create_topics()
    return sink_rig
