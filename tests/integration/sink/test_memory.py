"""The sink's memory with many dates open at once; the full size is `make bench CASE=sink-memory`."""

from __future__ import annotations

import uuid

import pytest
import yaml

from benchmarks.sink.memory import MEBIBYTE, drain, fill
from platform_core.settings import REPOSITORY, Settings


@pytest.fixture
def run(kafka, tmp_path):
    def run(records: int, dates: int, budget: int):
        folder = tmp_path / str(records)
        folder.mkdir()
        document = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())
        topic = document["domains"]["events"]["topic"]
        topic["name"] = f"raw-events-{uuid.uuid4().hex[:6]}"
        (folder / "domains.yaml").write_text(yaml.safe_dump({"domains": {"events": document["domains"]["events"]}}))
        env = {
            **kafka.env(),
            "PYTHONPATH": str(REPOSITORY),
            "DOMAINS_FILE": str(folder / "domains.yaml"),
            "LAKE_URI": str(folder / "lake"),
            "SINK_MAX_BUFFERED_BYTES": str(budget),
            "SINK_FLUSH_BUFFER_SIZE": "1000000",
            "SINK_FLUSH_INTERVAL_SECONDS": "3600",
        }
        settings = Settings(**{name.lower(): value for name, value in env.items()})
        fill(settings, records, dates)
        return drain(env, settings, folder / "sink.log")

    return run


def test_buffers_of_400_dates_stay_within_the_budget(run):
    budget = 24 * MEBIBYTE
    small, large = run(2_000, 5, budget), run(120_000, 400, budget)
    assert large.rows == 120_000
    # 120,000 events are 190 MB in buffers. Beyond the budget there are the client's queue of 32 MB and what is being
    # encoded.
    assert large.usage.peak_bytes - small.usage.peak_bytes < budget + 100 * MEBIBYTE
    assert large.files > 400, "the budget never made the sink write"
