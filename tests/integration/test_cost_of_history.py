"""What looks at one date, or at what is new, asks a store for as much after two months as after a fortnight.

The emulator of Google Cloud Storage counts what it is asked for, whoever asks: pyarrow, delta-rs, a listing. Seconds
are not judged here; `benchmarks.years` measures them. The rows that a tick decodes are counted where ticks are tested.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from benchmarks.history.age import age
from maintenance.run import maintain_domain, maintain_platform
from pdp.cli import app
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import Domain
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.corrections import SCHEMA, Correction
from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings, settings
from tests.rigs.gcs.service import GcsService
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake
from tests.rigs.settings_of import settings_of

LAST = FIRST_DAY
OF_ORDERS = ("orders", LAST.isoformat())
AGES = {"a fortnight": 15, "two months": 60}
"""Dates before the last one. More than a command shows when nobody says which, and fewer than a page of a listing."""

COMMANDS = {
    "partitions list": ["partitions", "list"],
    "partitions show": ["partitions", "show", *OF_ORDERS],
    "partitions history": ["partitions", "history", *OF_ORDERS],
    "quarantine list": ["quarantine", "list", "orders"],
    "quarantine list of a date": ["quarantine", "list", *OF_ORDERS],
    "corrections": ["corrections"],
    "corrections of a date": ["corrections", *OF_ORDERS],
    "alerts": ["alerts"],
    "domains": ["domains"],
    "audit of a date": [
        "audit",
        "--domain",
        "orders",
        "--date",
        LAST.isoformat(),
        "--stage",
        "silver",
        "--stage",
        "gold",
    ],
    "a quiet night": ["maintain"],
}


@dataclass
class Aged:
    """A lake of `orders` in the emulator, with dates behind it."""

    service: GcsService
    settings: Settings
    domain: Domain

    @contextmanager
    def entered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Make this process one of this lake's."""
        with monkeypatch.context() as patched:
            for name, value in self.service.env(self.settings.lake_uri.rpartition("/")[2]).items():
                patched.setenv(name, value)
            settings.cache_clear()
            yield
        settings.cache_clear()

    def asked_by(self, work: Callable[[], object]) -> list[str]:
        """Return the different requests of some work; how many pieces pyarrow reads a file in, its threads decide."""
        before = self.service.happened().targets
        work()
        return sorted(each for each, times in self.service.happened().targets.items() if times > before.get(each, 0))


def _made(folder: Path, dates: int) -> AuditLake:
    """Return a lake on the disk whose last date is real, and copies of it are before that."""
    made = AuditLake(Settings(lake_uri=str(folder)), seed=4).make(days=1)
    lake, domain = made.lake, made.domain
    first = LAST - timedelta(days=dates)
    for name in (
        lake.silver(domain),
        lake.quarantine(domain),
        *(lake.gold(domain, table) for table in domain.gold.tables),
    ):
        age(Path(lake.path(name)), domain.partition_key, dates, first)
        lake.delta(name).create_checkpoint()
    changes, before = [], [first + timedelta(days=number) for number in range(dates)]
    for day in before:
        shutil.copytree(lake.path(lake.bronze_partition(domain, LAST)), lake.path(lake.bronze_partition(domain, day)))
        files = tuple(file.name for file in lake.list_date(domain, day))
        pinned = {"source_files": files, "file_hash": file_hash(files), "run_id": "run"}
        changes += [
            Change(domain.name, day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned),
            Change(domain.name, day, State.PENDING, Event.RUN_STARTED, run_id="run", set=pinned),
            Change(domain.name, day, State.IN_FLIGHT, Event.SUCCEEDED, run_id="run"),
        ]
    DeltaPartitionMeta(lake).apply(changes)
    for name in (lake.partition_meta, lake.partition_history):
        lake.delta(name).optimize.compact()
        lake.delta(name).create_checkpoint()
    at = datetime.combine(LAST, time(12), UTC)
    corrections = [
        Correction(f"c-{day}", "orders", day, at, "run", "late files", 1, 0, 3, "orders", "none", "{}", None, None)
        for day in before
    ]
    rows = pa.Table.from_pylist([asdict(each) for each in corrections], schema=SCHEMA)
    write_deltalake(lake.uri(lake.corrections), rows)
    AlertLog(lake).new(
        [Alert(f"a/{day}", AlertKind.SLA_MISSED, "orders", day, "late", "orders", "pdp alerts", at) for day in before]
    )
    return made


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Aged]]:
    """The lakes by their age, each after a night."""
    folder = tmp_path_factory.mktemp("aged")
    with GcsService(folder, page=1_000) as service:
        lakes = {}
        for name, dates in AGES.items():
            made = _made(folder / f"{dates}", dates)
            aged = Aged(service, settings_of(service.env(f"{dates}")), made.domain)
            lake = Lake(aged.settings)
            pafs.copy_files(
                made.lake.root,
                lake.path(""),
                source_filesystem=made.lake.filesystem,
                destination_filesystem=lake.filesystem,
            )
            list(maintain_domain(lake, made.domain, DeltaPartitionMeta(lake), aged.settings))
            list(maintain_platform(lake, aged.settings))
            lakes[name] = aged
        yield lakes
        assert service.happened().refused == []


def _asked(aged: dict[str, Aged], monkeypatch: pytest.MonkeyPatch, work: Callable[[Aged], object]) -> list[list[str]]:
    asked = []
    for each in aged.values():
        with each.entered(monkeypatch):
            asked.append(each.asked_by(lambda each=each: work(each)))
    return asked


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_for_as_much_after_two_months(
    aged: dict[str, Aged], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    answers = []

    def run(_: Aged) -> None:
        done = CliRunner().invoke(app, COMMANDS[command])
        assert done.exit_code == 0, done.output
        answers.append(done.output)

    few, many = _asked(aged, monkeypatch, run)
    assert len(few) == len(many) > 0, (few, many, answers[-1])


def test_a_quiet_tick_asks_for_as_much_after_two_months(aged: dict[str, Aged], monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def quiet(each: Aged) -> None:
            ticked = tick(each.domain, MetadataStore(), instance, DiscoveryCursor(), settings())
            assert (ticked.run_requests, ticked.bronze) == ([], [])

        few, many = _asked(aged, monkeypatch, quiet)
    assert len(few) == len(many), (few, many)


def test_a_night_after_one_date_was_written_asks_for_as_much_after_two_months(
    aged: dict[str, Aged], monkeypatch: pytest.MonkeyPatch
) -> None:
    def night(each: Aged) -> None:
        list(maintain_domain(Lake(each.settings), each.domain, DeltaPartitionMeta(Lake(each.settings)), each.settings))

    for each in aged.values():
        lake = Lake(each.settings)
        for name in (lake.silver(each.domain), *(lake.gold(each.domain, table) for table in each.domain.gold.tables)):
            table = lake.delta(name)
            rows = read_date(lake, table, each.domain.partition_key, LAST)
            write_deltalake(table, rows, mode="overwrite", predicate=f"{each.domain.partition_key} = '{LAST}'")
    few, many = _asked(aged, monkeypatch, night)
    assert len(few) == len(many), (few, many)
