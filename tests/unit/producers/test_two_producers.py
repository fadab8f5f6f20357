"""Two producers of one source: the second is refused, or noticed, and a killed one's successor starts at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.settings import REPOSITORY
from producers import live
from producers.running import Stop
from producers.watermark import FileWatermark
from producers.watermark_store import WatermarkTakenError
from tests.rigs.settings_of import settings_of

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")


def test_a_second_producer_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    with FileWatermark(tmp_path, "orders").locked():
        named = (
            rf"The producer of `orders` runs already: process {os.getpid()} on host `{socket.gethostname()}`, since 2"
        )
        for _ in range(2):  # the one that is refused does not overwrite the name
            with pytest.raises(ConfigurationError, match=named), FileWatermark(tmp_path, "orders").locked():
                pass
        with FileWatermark(tmp_path, "users").locked():
            pass
    with FileWatermark(tmp_path, "orders").locked():
        pass


def test_the_successor_of_a_killed_producer_starts_at_once(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from producers.watermark import FileWatermark\n"
    hold += "with FileWatermark(Path(sys.argv[1]), 'orders').locked(): print(flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with (
        pytest.raises(ConfigurationError, match=f"process {process.pid} on host"),
        FileWatermark(tmp_path, "orders").locked(),
    ):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with FileWatermark(tmp_path, "orders").locked():
        pass


def test_two_producers_whom_no_lock_divides_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first, second = FileWatermark(tmp_path, "orders"), FileWatermark(tmp_path, "orders")
    for store in (first, second):
        store.load()
    with second.locked():  # on a host that the first one's lock does not reach
        second.save({"low": 2})
        second.save({"low": 3})
        with pytest.raises(
            WatermarkTakenError, match=rf"`orders` ran; the lock was taken last by process {os.getpid()}"
        ):
            first.save({"low": 1})
    assert second.load() == {"low": 3}
    second.save({"low": 4})
    assert first.load() == {"low": 4}
    first.save({"low": 5})  # it has read what the other left
    first.path.unlink()
    with pytest.raises(WatermarkTakenError, match="saved or removed"):
        first.save({"low": 6})


def test_a_single_snapshot_may_be_taken_beside_the_live_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "Delivery", MagicMock())
    monkeypatch.setattr(live, "Session", MagicMock())
    config = settings_of({"STATE_DIR": str(tmp_path)})
    for name, refused in (("orders", True), ("users", True), ("restaurants", False)):
        with FileWatermark(tmp_path, name).locked():
            with pytest.raises(ConfigurationError, match="runs already") if refused else nullcontext():
                live.run_source(config, CATALOG[name], Stop(), once=True)
            with pytest.raises(ConfigurationError, match="runs already"):
                live.run_source(config, CATALOG[name], Stop())
