from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_bench import Bench

from infra.embedded.kafka import Kafka


@pytest.fixture
def bench(kafka: Kafka, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, tmp_path)
    yield bench
    bench.close()
