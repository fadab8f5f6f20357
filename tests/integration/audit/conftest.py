"""A topic of its own for each test, the real sink's output, and the audit of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sink_bench import Bench

from infra.embedded.kafka import Kafka
from platform_assets.audit.report import AuditReport, Stage
from platform_assets.audit.run import audit
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake


@pytest.fixture
def bench(kafka: Kafka, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, tmp_path)
    bench.create_topics()
    yield bench
    bench.close()


@pytest.fixture
def look(bench: Bench) -> Callable[[], AuditReport]:
    return lambda: audit(bench.settings, load_catalog(bench.domains_file), Lake(bench.settings), stages={Stage.BRONZE})
