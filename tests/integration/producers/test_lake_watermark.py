"""Producers' state in the lake's bucket: one producer of a source over all hosts, and each save a compare-and-set."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.embedded.services.object_store import ObjectStore
from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings
from producers.lake_watermark import LakeWatermark
from producers.postgres.fence import Position
from producers.postgres.stamp import Stamp
from producers.watermark import describe, names_in, reset, saved_position, state_of, watermark_of
from producers.watermark_store import WatermarkTakenError
from tests.rigs.settings_of import settings_of

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
LEASE = 3.0


@pytest.fixture
def settings(object_store: ObjectStore, request: pytest.FixtureRequest) -> Settings:
    env = object_store.env()
    return settings_of({**env, "LAKE_URI": f"{env['LAKE_URI']}/{request.node.name[:30]}", "STATE_IN_LAKE": "true"})


def env_of(settings: Settings) -> dict[str, str]:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "LAKE_URI": settings.lake_uri,
        "S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
    }


def test_a_second_producer_is_refused_and_a_killed_ones_successor_waits_for_its_lease(settings: Settings) -> None:
    program = [
        sys.executable,
        str(REPOSITORY / "tests" / "rigs" / "producers" / "lake_producer.py"),
        "orders",
        str(LEASE),
    ]
    first = subprocess.Popen(program, env=env_of(settings), stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "holds\n"
        named = rf"producer of `orders` runs already: process {first.pid} on host `{socket.gethostname()}`"
        second = LakeWatermark(Lake(settings), "orders", LEASE)
        with pytest.raises(ConfigurationError, match=named), second.locked():
            pass
        with LakeWatermark(Lake(settings), "users", LEASE).locked():
            pass
        first.kill()
        first.wait()
        with second.locked():
            assert second.load() == {"low": 1}
            second.save({"low": 2})
        with LakeWatermark(Lake(settings), "orders", 600).locked():
            pass  # a lease that was given back is nobody's
    finally:
        first.kill()
        first.wait()
        if first.stdout is not None:
            first.stdout.close()


def test_pdp_and_the_audit_reach_the_state_from_any_host(settings: Settings) -> None:
    state = state_of(settings)
    assert isinstance(state, Lake)
    assert describe(state, CATALOG) == []
    assert saved_position(state, CATALOG["orders"]) is None
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    watermark_of(state, "orders").save({"position": Position(Stamp.of(now)).to_json()})
    watermark_of(state, "restaurants").save({"snapshot_at": now.isoformat(), "restaurants": {"1": {}}})
    shown = [(each.source, each.low, each.remembered_rows) for each in describe(state, CATALOG)]
    assert shown == [("orders", now, 0), ("restaurants", now, 1)]
    assert f"{settings.lake_uri}/pipeline-metadata/producer_state, orders" == describe(state, CATALOG)[0].location
    earlier = datetime(2026, 11, 19, tzinfo=UTC)
    reset(state, CATALOG["orders"], earlier)
    position = saved_position(state, CATALOG["orders"])
    assert position is not None
    assert position.low.time == earlier
    reset(state, CATALOG["orders"], None)
    assert names_in(state) == ["restaurants"]


@pytest.fixture
def folder_lake(tmp_path: Path) -> Lake:
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path)}))
    lake.prepare()
    return lake


def test_of_two_that_save_over_each_other_the_later_one_is_refused(folder_lake: Lake) -> None:
    first, second = LakeWatermark(folder_lake, "orders"), LakeWatermark(folder_lake, "orders")
    assert first.load() is second.load() is None
    second.save({"low": 2})
    with pytest.raises(WatermarkTakenError, match="Another process has saved"):
        first.save({"low": 1})
    assert first.load() == {"low": 2}
    first.save({"low": 3})
    with pytest.raises(WatermarkTakenError):
        second.save({"low": 4})


def test_a_lease_that_was_taken_over_is_noticed_before_the_next_save(folder_lake: Lake) -> None:
    hung, successor = LakeWatermark(folder_lake, "orders", 0.6), LakeWatermark(folder_lake, "orders", 0.6)
    with hung.locked():
        hung.load()
        with hung._one_at_a_time, successor.locked():  # as a frozen process: its renewals wait
            pass
        with successor.locked(), pytest.raises(WatermarkTakenError):
            for number in range(1000):
                hung.save({"low": number})
                threading.Event().wait(0.05)


def test_no_save_is_lost_among_several_sources_at_once(folder_lake: Lake) -> None:
    def save_all(name: str, low: int) -> None:
        watermark = LakeWatermark(folder_lake, name)
        for number in range(15):
            for _ in range(100):
                watermark.load()
                try:
                    watermark.save({"low": low, "number": number})
                except WatermarkTakenError:
                    continue
                saved.append((name, low, number))
                break

    saved: list[tuple[str, int, int]] = []
    threads = [threading.Thread(target=save_all, args=args) for args in (("orders", 1), ("orders", 2), ("users", 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(saved) == 45
    revisions = {name: LakeWatermark(folder_lake, name)._row("position").revision for name in ("orders", "users")}
    assert revisions == {"orders": 30, "users": 15}, "each save that was acknowledged is one revision"
